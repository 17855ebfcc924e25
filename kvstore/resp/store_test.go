package resp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	evaluation "github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// store keeps one node's values in memory, and what befalls it.
type store struct {
	mu    sync.Mutex
	items map[string]evaluation.Item
	lsn   uint64
	clock uint64
	// failure, when set, is the error of every request.
	failure error
	// slow requests are not begun at once.
	slow bool
	// commit, when set, is waited for before a write is answered.
	commit chan struct{}
	// begun counts what has been begun, most the most at once.
	begun, most atomic.Int64
	// requests counts all.
	requests atomic.Int64
}

func newStore() *store { return &store{items: map[string]evaluation.Item{}, clock: 1000} }

func (s *store) pipeline(time.Duration) Pipeline { return &pipeline{store: s} }

func (s *store) execute(b api.Batch) ([]api.Result, error) {
	s.requests.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return nil, s.failure
	}
	if err := evaluation.Check(b); err != nil {
		return nil, err
	}
	o, err := evaluation.Evaluate(b, s.clock, func(key []byte) (evaluation.Item, error) { return s.items[string(key)], nil })
	if err != nil {
		return nil, err
	}
	s.lsn++
	at := evaluation.Position{Epoch: 1, LSN: s.lsn}
	op.Own(op.Entry{Clock: s.clock, Ops: o.Ops})
	for _, w := range o.Ops {
		if w.Kind == op.Delete {
			delete(s.items, string(w.Key))
		} else {
			s.items[string(w.Key)] = evaluation.Item{Found: true, Data: w.Value, Expires: w.Expires, Version: at}
		}
	}
	if o.Refused != nil {
		return nil, o.Refused
	}
	o.Written(at)
	return o.Results, nil
}

// pipeline executes at once and answers in turn.
type pipeline struct {
	store   *store
	answers []executed
}

type executed struct {
	results []api.Result
	err     error
}

func (p *pipeline) Get(key []byte) (value []byte, found, ok bool) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	item := p.store.items[string(evaluation.UserKey(key))]
	if p.store.failure != nil || item.Expires != 0 && item.Expires <= p.store.clock {
		return nil, false, false
	}
	return item.Data, item.Found, true
}

func (p *pipeline) Begin(b api.Batch) bool {
	if p.store.slow || p.store.failure != nil {
		return false
	}
	results, err := p.store.execute(b)
	p.answers = append(p.answers, executed{results, err})
	p.store.begun.Add(1)
	p.store.most.Store(max(p.store.most.Load(), int64(len(p.answers))))
	return true
}

func (p *pipeline) Len() int { return len(p.answers) }

func (p *pipeline) Wait() ([]api.Result, error) {
	if p.store.commit != nil {
		<-p.store.commit
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	return a.results, a.err
}

func (p *pipeline) Execute(_ context.Context, b api.Batch) ([]api.Result, error) {
	return p.store.execute(b)
}

// testMap has four partitions, the last without a primary.
func testMap() *clusterkit.Map {
	m := &clusterkit.Map{Version: 7, Config: clusterkit.Config{Hash: clusterkit.HashCRC16Slots}}
	for _, id := range []string{"a", "b", "mute"} {
		n := clusterkit.Node{ID: id, Alive: true}
		if id != "mute" {
			n.Services = map[string]string{}
		}
		m.Nodes = append(m.Nodes, n)
	}
	m.Nodes[0].Services[Service] = "10.0.0.1:7001"
	m.Nodes[1].Services[Service] = "10.0.0.2:7002"
	for i, primary := range []string{"a", "a", "b", ""} {
		m.Partitions = append(m.Partitions, clusterkit.Partition{Index: i, Primary: primary})
	}
	return m
}
