package clusterkit

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
)

// handover moves primaries to where the planner wants them, in an application
// that does not do that by itself. This node stops being the primary first, in
// its own eyes and for good, and asks for the transfer then: at no moment are
// there two.
type handover struct {
	nodeID string
	// transfer gives the epoch up before it asks for the transfer.
	transfer func(ctx context.Context, req TransferRequest) error
	log      *slog.Logger
	// ended has the epochs in which this node has stopped to be the primary,
	// by partition.
	ended atomic.Pointer[map[int]uint64]
	mu    sync.Mutex
}

// handedOver reports whether this node has given up this epoch.
func (h *handover) handedOver(p *Partition) bool {
	ended := h.ended.Load()
	return ended != nil && (*ended)[p.Index] >= p.Epoch
}

func (h *handover) giveUp(p *Partition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := make(map[int]uint64)
	if ended := h.ended.Load(); ended != nil {
		maps.Copy(next, *ended)
	}
	next[p.Index] = max(next[p.Index], p.Epoch)
	h.ended.Store(&next)
}

// run works through the maps until there are no more.
func (h *handover) run(ctx context.Context, changes <-chan *Map) {
	for m := range changes {
		for i := range m.Partitions {
			if p := &m.Partitions[i]; ctx.Err() == nil && h.due(m, p) {
				h.hand(ctx, p)
			}
		}
	}
}

// due reports whether this node is the primary and the wanted one is ready.
func (h *handover) due(m *Map, p *Partition) bool {
	wanted := p.wantedPrimary()
	if p.Primary != h.nodeID || wanted == "" || wanted == h.nodeID {
		return false
	}
	c, ok := m.CurrentMember(p, wanted)
	return ok && p.IsInSync(c) && m.Present(c)
}

// hand repeats the transfer until the epoch has ended: there is no way back.
func (h *handover) hand(ctx context.Context, p *Partition) {
	req := TransferRequest{Partition: p.Index, Epoch: p.Epoch, From: h.nodeID, To: p.wantedPrimary()}
	for ctx.Err() == nil {
		err := h.transfer(ctx, req)
		if err == nil || errors.Is(err, ErrStale) {
			return
		}
		h.log.Debug("hand-over not done yet", "partition", p.ID, "error", err)
		sleep(ctx, minRetryDelay)
	}
}
