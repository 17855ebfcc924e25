package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// controller does what only the Raft leader does: it keeps the sessions and
// moves the map to where it should be. Every decision is a pure function, in
// decide.go and servers.go; a decision that comes too late is refused by the
// state machine.
type controller struct {
	raft     *raft.Raft
	state    *fsm
	book     *addressBook
	proposer *proposer
	clock    Clock
	log      *slog.Logger
	watch    *watchers

	serverID           raft.ServerID
	managed            bool
	reReplicationDelay time.Duration
	patience           serverPatience
	// founding returns what a leader that finds no cluster proposes, zero if
	// this node has not founded one.
	founding func() bootstrapCommand

	// keeper is nil while this node does not lead.
	keeper atomic.Pointer[keeper]
}

const (
	barrierTimeout = 5 * time.Second
	// reviewInterval bounds how long the controller goes without a look.
	reviewInterval = 500 * time.Millisecond
	// serverChangeTimeout bounds the wait to be taken up by Raft.
	serverChangeTimeout = 2 * time.Second
)

// run leads whenever Raft says so. It never lets Raft wait for a notification
// to be taken, and returns when the context has ended and all work stopped.
func (c *controller) run(ctx context.Context, notify <-chan bool) {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := func() {}
	defer func() { stop() }()
	previous := make(chan struct{})
	close(previous)
	for {
		select {
		case <-ctx.Done():
			return
		case leader := <-notify:
			stop()
			if !leader {
				continue
			}
			term, cancel := context.WithCancel(ctx)
			stop = cancel
			before, done := previous, make(chan struct{})
			previous = done
			wg.Go(func() {
				defer close(done)
				<-before
				c.lead(term)
			})
		}
	}
}

// lead works until the context ends, which it does with the leadership. After
// an outcome that is not known it begins anew, as if just elected.
func (c *controller) lead(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.leadOnce(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("control plane: leading failed, beginning anew", "error", err)
			sleep(ctx, maxRetryDelay)
		}
	}
}

func (c *controller) leadOnce(ctx context.Context) error {
	// Decide nothing before everything that earlier leaders committed is
	// known here.
	term := c.raft.CurrentTerm()
	if err := c.raft.Barrier(barrierTimeout).Error(); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	if c.raft.CurrentTerm() != term || c.raft.State() != raft.Leader {
		return errors.New("the leadership changed meanwhile")
	}
	if c.state.Map() == nil {
		founding := c.founding()
		if founding.ClusterUUID == "" {
			return fmt.Errorf("%w: there is none in the Raft log, and this node has not founded it: restore the data directory of the node that has", ErrNoCluster)
		}
		if _, err := c.proposer.apply(ctx, founding); err != nil {
			return fmt.Errorf("found the cluster: %w", err)
		}
	}
	k := &keeper{
		term:       term,
		clock:      c.clock,
		state:      c.state,
		apply:      c.proposer.apply,
		dropCopies: !c.managed,
		log:        c.log,
		renewals:   make(chan renewal),
		done:       make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.keeper.Store(k)
	defer c.keeper.Store(nil)
	c.log.Info("leading the control plane", "term", term)

	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.plan(ctx, k) })
	wg.Go(func() { c.spread(ctx) })
	k.run(ctx)
	cancel()
	return nil
}

// spread makes each change of the map known to the followers at once: the entry
// that follows it tells them that it was committed.
func (c *controller) spread(ctx context.Context) {
	for range c.watch.watch(ctx) {
		// If it fails, this node does not lead any more.
		_ = c.raft.Barrier(barrierTimeout).Error()
	}
}

// plan reviews the map at each change.
func (c *controller) plan(ctx context.Context, k *keeper) {
	review := planner{controller: c, keeper: k, deadSince: make(map[string]time.Duration), servers: newServerWatch(c.serverID, c.patience)}
	maps := c.watch.watch(ctx)
	ticker := time.NewTicker(reviewInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-maps:
		case <-ticker.C:
		}
		if err := review.once(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoLeader) {
			c.log.Warn("control plane: review failed, it will be repeated", "error", err)
		}
	}
}

// planner is the controller's memory of one term.
type planner struct {
	*controller
	keeper *keeper
	// deadSince is when this leader first saw each dead node dead.
	deadSince map[string]time.Duration
	servers   serverWatch
	// planned is what the last plan was for.
	planned planBasis
}

// planBasis is what a plan depends on, beside the plan before.
type planBasis struct {
	nodes    []placement.Node
	replicas int
	paused   bool
}

func (b planBasis) equal(other planBasis) bool {
	return slices.Equal(b.nodes, other.nodes) && b.replicas == other.replicas && b.paused == other.paused
}

func (p *planner) once(ctx context.Context) error {
	m := p.state.Map()
	now := p.clock.Now()
	for _, n := range m.Nodes {
		if _, noted := p.deadSince[n.ID]; n.Alive {
			delete(p.deadSince, n.ID)
		} else if !noted {
			p.deadSince[n.ID] = now
		}
	}
	return errors.Join(
		p.desire(ctx, m, now),
		p.move(ctx),
		p.changeServers(ctx, p.state.Map(), now),
	)
}

func (p *planner) desire(ctx context.Context, m *Map, now time.Duration) error {
	nodes := placeable(m, p.deadSince, now, p.reReplicationDelay)
	basis := planBasis{nodes: nodes, replicas: m.Config.ReplicationFactor, paused: m.Paused}
	if basis.equal(p.planned) {
		return nil
	}
	changes, err := desires(m, nodes)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if len(changes) > 0 {
		if _, err := p.proposer.apply(ctx, desireCommand{Term: p.keeper.term, Desired: changes}); err != nil {
			return fmt.Errorf("record the plan: %w", err)
		}
		p.log.Info("placement changed", "nodes", len(nodes), "partitions", len(changes))
	}
	p.planned = basis
	return nil
}

func (p *planner) move(ctx context.Context) error {
	steps := nextMoves(p.state.Map())
	if len(steps) == 0 {
		return nil
	}
	if _, err := p.proposer.apply(ctx, movesCommand{Term: p.keeper.term, Steps: steps}); err != nil {
		return fmt.Errorf("move copies: %w", err)
	}
	return nil
}

// changeServers makes at most one change, and none before Raft has committed
// the one before.
func (p *planner) changeServers(ctx context.Context, m *Map, now time.Duration) error {
	future := p.raft.GetConfiguration()
	servers := p.servers.observe(future.Configuration().Servers, m, p.caughtUp, now)
	change, ok := nextServerChange(servers)
	if !ok {
		return nil
	}
	if change.kind == serverRemoval && change.id == p.serverID {
		// Another leader removes this one.
		p.log.Info("this node was removed, handing on the leadership")
		return handOnLeadership(ctx, p.raft)
	}
	p.log.Info("changing the Raft servers", "server", change.id, "change", change.kind)
	if err := change.apply(p.raft, future.Index()).Error(); err != nil {
		return fmt.Errorf("%s of Raft server %s: %w", change.kind, change.id, err)
	}
	return nil
}

// caughtUp reports whether the node's session last knew nearly everything.
func (p *planner) caughtUp(n Node) bool {
	applied := p.keeper.appliedIndex(sessionRef{Node: n.ID, Incarnation: n.Incarnation})
	return applied > 0 && applied+promotionLag >= p.raft.AppliedIndex()
}

// sleep waits, or less when the context ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
