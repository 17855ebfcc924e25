package kvstore

import (
	"context"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	proposalTimeout = 2 * time.Second
	// proposalWorkers bounds how many proposals are under way at once.
	proposalWorkers = 8
)

// proposals brings what the replicas ask of the control plane there. The
// newest request of a partition replaces one that has not been sent. Nobody
// waits for an answer: what has been decided shows in the map, and a replica
// asks again while it does not.
type proposals struct {
	node *Node

	mu    sync.Mutex
	next  map[uint32]func(context.Context) error
	order []uint32
	wake  chan struct{} // one slot
}

func newProposals(n *Node) *proposals {
	return &proposals{node: n, next: map[uint32]func(context.Context) error{}, wake: make(chan struct{}, 1)}
}

func (p *proposals) inSync(part uint32, c partition.InSyncChange) {
	change := clusterkit.InSyncChange{Partition: int(part), Epoch: c.Epoch, Version: c.Version}
	for _, m := range c.InSync {
		change.InSync = append(change.InSync, clusterkit.Member(m))
	}
	p.add(part, func(ctx context.Context) error { return p.node.cluster.ProposeInSync(ctx, change) })
}

func (p *proposals) transfer(part uint32, t partition.Transfer) {
	req := clusterkit.TransferRequest{Partition: int(part), Epoch: t.Epoch, From: p.node.self.Node, To: t.To.Node}
	p.add(part, func(ctx context.Context) error { return p.node.cluster.Transfer(ctx, req) })
}

func (p *proposals) copyAnew(req clusterkit.CopyAnewRequest) {
	p.add(uint32(req.Partition), func(ctx context.Context) error { return p.node.cluster.CopyAnew(ctx, req) })
}

func (p *proposals) add(part uint32, f func(context.Context) error) {
	p.mu.Lock()
	if p.next[part] == nil {
		p.order = append(p.order, part)
	}
	p.next[part] = f
	p.mu.Unlock()
	signal(p.wake)
}

func (p *proposals) take() (uint32, func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return 0, nil
	}
	part := p.order[0]
	p.order = p.order[1:]
	f := p.next[part]
	delete(p.next, part)
	if len(p.order) > 0 {
		signal(p.wake)
	}
	return part, f
}

// run is one worker; it ends with the context.
func (p *proposals) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		part, f := p.take()
		if f == nil {
			continue
		}
		call, cancel := context.WithTimeout(ctx, proposalTimeout)
		if err := f(call); err != nil && ctx.Err() == nil {
			p.node.log.Debug("proposal", "partition", part, "err", err)
		}
		cancel()
	}
}
