package sim

import (
	"errors"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// pageDelay is how long a client may take to ask for the next page.
const pageDelay = 300 * time.Millisecond

// scan reads all keys of a unit from one snapshot, each on a page of its own.
// The client, whose patience covers all pages, asks the same process for them.
type scan struct {
	node         *node
	op           *operation
	epoch, clock uint64
	snapshot     []command.Item
	results      []api.Result
	answer       func([]api.Result, error)
}

// scan begins a scan: the lease is checked when the first page has been read.
func (n *node) scan(op *operation, answer func([]api.Result, error)) {
	s := &scan{node: n, op: op, epoch: n.servingEpoch(), clock: n.expiryNow(), answer: answer}
	if s.epoch == 0 {
		answer(nil, errNotServing)
		return
	}
	if last := n.replica.Last().LSN; last > n.committed && !n.w.opt.Rules.Breaks(planted.ScanUnsettled) {
		n.wait(last, &request{node: n, settled: s.take, answer: answer})
		return
	}
	s.take()
}

// take takes the snapshot, when everything is committed that may have been
// evaluated before the clock was read.
func (s *scan) take() {
	for i := range s.op.steps {
		s.snapshot = append(s.snapshot, s.node.items[string(command.UserKey(s.op.steps[i].Key))])
	}
	s.node.w.count(scans)
	s.page()
}

// page reads the next page, or answers.
func (s *scan) page() {
	i, n := len(s.results), s.node
	if i == len(s.snapshot) {
		s.answer(s.results, nil)
		return
	}
	item := s.snapshot[i]
	if i > 0 && n.w.opt.Rules.Breaks(planted.ScanPresent) {
		item = n.items[string(command.UserKey(s.op.steps[i].Key))]
	}
	if item.Expires == 0 || item.Expires > s.clock {
		s.read(item)
		return
	}
	n.w.count(expirations)
	if n.w.opt.Rules.Breaks(planted.ScanHidesExpired) {
		s.read(command.Item{})
		return
	}
	s.expire(item.Version.String())
}

// expire has a value deleted that has run out. That it was absent in the
// snapshot is certain only if the epoch has lasted until then.
func (s *scan) expire(version string) {
	c := api.Command{Op: api.OpGet, Key: s.op.steps[len(s.results)].Key, If: api.IfVersion, Version: version}
	s.node.execute(&operation{batch: api.Batch{Commands: []api.Command{c}}}, func(_ []api.Result, err error) {
		if !errors.Is(err, api.ErrConditionFailed) || s.node.servingEpoch() != s.epoch {
			s.answer(nil, errNotServing)
			return
		}
		s.read(command.Item{})
	})
}

// read ends a page.
func (s *scan) read(item command.Item) {
	n := s.node
	s.results = append(s.results, value(item)...)
	if len(s.results) > 1 {
		s.page()
		return
	}
	covered := n.w.opt.Rules.Breaks(planted.ScanUncovered)
	req := &request{node: n, epoch: s.epoch, covered: covered, answer: func(_ []api.Result, err error) {
		if err != nil {
			s.answer(nil, err)
			return
		}
		n.later(n.w.between(0, pageDelay), s.page)
	}}
	n.soon(req.cover)
}
