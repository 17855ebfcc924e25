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
	// slow requests are not begun at once, cold ones have to be waited for before
	// they are, and unconfirmed ones before they are answered.
	slow, cold, unconfirmed bool
	// commit, when set, commits one batch after the other.
	commit chan struct{}
	// mute commits are not told of.
	mute bool
	// hold, when set, keeps requests that take patience until it is closed.
	hold chan struct{}
	// begun counts what has been begun, most the most at once.
	begun, most atomic.Int64
	// requests counts all.
	requests atomic.Int64
}

func newStore() *store { return &store{items: map[string]evaluation.Item{}, clock: 1000} }

func slowStore() *store {
	s := newStore()
	s.slow = true
	return s
}

func coldStore() *store {
	s := newStore()
	s.cold = true
	return s
}

func unconfirmedStore() *store {
	s := newStore()
	s.unconfirmed = true
	return s
}

// commitAll commits whatever is begun, a little later, until it is stopped.
func (s *store) commitAll() (stop func()) {
	s.commit = make(chan struct{})
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s.commit <- struct{}{}:
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
		close(s.commit)
	}
}

// turn is that of the node, which has nothing to end.
type turn struct{ store *store }

func (s *store) turn() Turn { return turn{s} }

func (t turn) NewPipeline(_ time.Duration, tell func()) Pipeline {
	return &pipeline{store: t.store, tell: tell, commits: make(chan struct{}, maxBegun)}
}

func (turn) End() {}

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
	tell    func()
	answers []executed
	// commits are for batches that have been begun, from the first on.
	commits   chan struct{}
	committed bool // the first
}

type executed struct {
	results []api.Result
	err     error
}

func (p *pipeline) Get(key []byte, mayWait bool) (value []byte, found, ok bool) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	item := p.store.items[string(evaluation.UserKey(key))]
	if p.store.failure != nil || p.store.cold && !mayWait || item.Expires != 0 && item.Expires <= p.store.clock {
		return nil, false, false
	}
	return item.Data, item.Found, true
}

func (p *pipeline) Begin(b api.Batch, mayWait bool) bool {
	if p.store.slow || p.store.cold && !mayWait || p.store.failure != nil {
		return false
	}
	results, err := p.store.execute(b)
	p.answers = append(p.answers, executed{results, err})
	p.store.begun.Add(1)
	p.store.most.Store(max(p.store.most.Load(), int64(len(p.answers))))
	if p.store.commit == nil {
		p.commits <- struct{}{}
	} else {
		go func() {
			<-p.store.commit
			p.commits <- struct{}{}
			if !p.store.mute {
				p.tell()
			}
		}()
	}
	return true
}

func (p *pipeline) Ready() (ready, slow bool) {
	if !p.committed {
		select {
		case <-p.commits:
			p.committed = true
		default:
			return false, false
		}
	}
	slow = p.store.unconfirmed
	return !slow, slow
}

func (p *pipeline) Len() int { return len(p.answers) }

func (p *pipeline) Wait() ([]api.Result, error) {
	if !p.committed {
		<-p.commits
	}
	p.committed = false
	a := p.answers[0]
	p.answers = p.answers[1:]
	return a.results, a.err
}

func (p *pipeline) End() {}

func (p *pipeline) Execute(ctx context.Context, b api.Batch) ([]api.Result, error) {
	if p.store.hold != nil {
		p.store.begun.Add(1)
		select {
		case <-p.store.hold:
		case <-ctx.Done():
			return nil, api.ErrUnavailable
		}
	}
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
