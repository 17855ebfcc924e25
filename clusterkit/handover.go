package clusterkit

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
)

// endedEpochs has, by partition, the last epoch in which this node has stopped
// to be the primary, for good. It is an immutable value.
type endedEpochs map[int]uint64

// has reports whether the node has given up the epoch of p.
func (e endedEpochs) has(p *Partition) bool { return e[p.Index] >= p.Epoch }

func (e endedEpochs) with(partition int, epoch uint64) endedEpochs {
	next := make(endedEpochs, len(e)+1)
	maps.Copy(next, e)
	next[partition] = max(next[partition], epoch)
	return next
}

// dueTransfer returns the transfer with which the node hands the partition
// over, and whether it should: it is the primary, and the wanted one is ready.
func dueTransfer(m *Map, p *Partition, nodeID string) (TransferRequest, bool) {
	wanted := p.wantedPrimary()
	if m.Paused || p.Primary != nodeID || wanted == "" || wanted == nodeID {
		return TransferRequest{}, false
	}
	if n := m.Node(wanted); n == nil || n.Stopping {
		return TransferRequest{}, false
	}
	c, ok := m.CurrentMember(p, wanted)
	return TransferRequest{Partition: p.Index, Epoch: p.Epoch, From: nodeID, To: wanted}, ok && p.IsInSync(c) && m.Present(c)
}

// handover moves primaries to where the planner wants them, in an application
// that does not do that by itself. This node stops being the primary first, in
// its own eyes and for good, and asks for the transfer then: at no moment are
// there two.
type handover struct {
	nodeID string
	// transfer gives the epoch up before it asks for the transfer.
	transfer func(ctx context.Context, req TransferRequest) error
	log      *slog.Logger
	ended    atomic.Pointer[endedEpochs]
	mu       sync.Mutex
}

// handedOver reports whether this node has given up this epoch.
func (h *handover) handedOver(p *Partition) bool {
	ended := h.ended.Load()
	return ended != nil && ended.has(p)
}

func (h *handover) giveUp(partition int, epoch uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ended endedEpochs
	if e := h.ended.Load(); e != nil {
		ended = *e
	}
	ended = ended.with(partition, epoch)
	h.ended.Store(&ended)
}

// run works through the maps until there are no more.
func (h *handover) run(ctx context.Context, changes <-chan *Map) {
	for m := range changes {
		for i := range m.Partitions {
			if req, due := dueTransfer(m, &m.Partitions[i], h.nodeID); due && ctx.Err() == nil {
				h.hand(ctx, req)
			}
		}
	}
}

// hand repeats the transfer until the epoch has ended: there is no way back.
func (h *handover) hand(ctx context.Context, req TransferRequest) {
	for ctx.Err() == nil {
		err := h.transfer(ctx, req)
		if err == nil || errors.Is(err, ErrStale) {
			return
		}
		h.log.Debug("hand-over not done yet", "partition", req.Partition, "error", err)
		sleep(ctx, minRetryDelay)
	}
}
