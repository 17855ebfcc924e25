package kvstore_test

import (
	"context"
	"sync"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// hooks calls the partition hook of one process as the control plane does: for
// each copy on its node that is not in sync, until it is or is not wanted any
// more.
type hooks struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (k *hooks) run(h *handle, hook func(context.Context, clusterkit.PartitionChange) error) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.wg.Go(func() {
		running := map[copyOf]*call{}
		for m := range h.Watch(ctx) {
			k.follow(ctx, h, m, running, hook)
		}
	})
}

// copyOf is a copy of a partition, and call one for it that goes on.
type copyOf struct {
	partition int
	member    clusterkit.Member
}

type call struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (k *hooks) follow(ctx context.Context, h *handle, m *clusterkit.Map, running map[copyOf]*call, hook func(context.Context, clusterkit.PartitionChange) error) {
	if m.Node(h.id).Incarnation < h.session.Load() {
		return // of the past
	}
	for of, c := range running {
		p := &m.Partitions[of.partition]
		if !p.IsMember(of.member) {
			c.cancel()
		}
		if !p.IsMember(of.member) || p.IsInSync(of.member) {
			<-c.done
			c.cancel()
			delete(running, of)
		}
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		for _, member := range p.Members {
			source := m.Node(p.Primary)
			if member.Node != h.id || p.IsInSync(member) || running[copyOf{i, member}] != nil || source == nil {
				continue
			}
			call := &call{done: make(chan struct{})}
			callCtx, cancel := context.WithCancel(ctx)
			call.cancel = cancel
			running[copyOf{i, member}] = call
			change := clusterkit.PartitionChange{
				PartitionID: p.ID, Index: i, Reason: "test", CopyFrom: source, CopyTo: *m.Node(h.id), Member: member, Attempt: 1,
			}
			k.wg.Go(func() {
				defer close(call.done)
				_ = hook(callCtx, change)
			})
		}
	}
}

func (k *hooks) stop() {
	k.cancel()
	k.wg.Wait()
}
