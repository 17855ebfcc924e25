package kvstore

import (
	"context"
	"slices"
	"sync"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
)

// slots bound how many snapshots a node takes at a time.
type slots struct {
	mu    sync.Mutex
	taken int
	queue []*slotRequest
}

type slotRequest struct {
	copying *copying
	granted chan struct{}
}

// acquire waits for a slot, and for the end of a pause. A copy that has one
// keeps it.
func (s *slots) acquire(ctx context.Context, c *copying) error {
	if c.hasSlot {
		return nil
	}
	req := &slotRequest{copying: c, granted: make(chan struct{})}
	s.mu.Lock()
	s.queue = append(s.queue, req)
	s.mu.Unlock()
	for {
		changed := c.node.changed.next()
		s.grant(c.node)
		select {
		case <-req.granted:
			c.hasSlot = true
			c.note(func(f *migration.Facts) { f.Slot = true })
			return nil
		case <-changed:
		case <-ctx.Done():
			s.mu.Lock()
			s.queue = slices.DeleteFunc(s.queue, func(other *slotRequest) bool { return other == req })
			select {
			case <-req.granted:
				s.taken--
			default:
			}
			s.mu.Unlock()
			s.grant(c.node)
			return ctx.Err()
		}
	}
}

// release gives the slot back, if the copy has one.
func (s *slots) release(c *copying) {
	if !c.hasSlot {
		return
	}
	c.hasSlot = false
	c.note(func(f *migration.Facts) { f.Slot = false })
	s.mu.Lock()
	s.taken--
	s.mu.Unlock()
	s.grant(c.node)
}

// grant gives slots to those whose turn it is, and tells the others how many
// are before them.
func (s *slots) grant(n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := n.pace.copies()
	requests := make([]migration.Request, len(s.queue))
	for i, req := range s.queue {
		requests[i] = req.copying.standing()
	}
	granted := map[*slotRequest]bool{}
	for _, i := range migration.Admit(requests, limit, s.taken) {
		granted[s.queue[i]] = true
		close(s.queue[i].granted)
		s.taken++
	}
	s.queue = slices.DeleteFunc(s.queue, func(req *slotRequest) bool { return granted[req] })
	for i, req := range s.queue {
		req.copying.note(func(f *migration.Facts) { f.Limit, f.Ahead = limit, s.taken+i })
	}
}

func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}
