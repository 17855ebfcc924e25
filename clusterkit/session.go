package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// session is this node's end of its session with the leader: it opens one,
// renews it, and opens another when it was ended.
type session struct {
	// self is this node as it was configured. What operators decided about it
	// the state machine knows; this node's own map may show an earlier node of
	// the same ID.
	self    func() Node
	dir     *dataDir
	state   *fsm
	clock   Clock
	log     *slog.Logger
	propose func(ctx context.Context, c command) (result, error)
	renew   func(ctx context.Context, req renewRequest) (renewResponse, error)
	applied func() uint64
	// awaitMap returns when there is a map, or the context has ended.
	awaitMap func(ctx context.Context)
	// changed is called when the lease may have begun or ended to count.
	changed    func()
	dropCopies bool

	cancel context.CancelFunc
	wg     sync.WaitGroup

	incarnation atomic.Uint64
	lease       atomic.Pointer[lease]
	renewals    atomic.Uint64
	failures    atomic.Uint64
}

// renewalsPerLease is how often a node renews in the course of one lease.
const renewalsPerLease = 4

// holdsIn reports whether this node may act in the roles that it has in the
// map, nil for none.
func (s *session) holdsIn(m *Map) bool {
	l := s.lease.Load()
	return l != nil && l.holdsIn(m, s.clock.Now())
}

// start runs the session until stop; refused is called when the cluster does
// not want this node.
func (s *session) start(ctx context.Context, refused func(error)) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.wg.Go(func() {
		if err := s.run(ctx); err != nil {
			refused(err)
		}
	})
}

// stop gives up the lease. When it returns nil, the session is not renewed any
// more; it returns the context's error if a write to the disk lasts longer. It
// may be called again.
func (s *session) stop(ctx context.Context) error {
	if s.cancel != nil {
		s.cancel()
	}
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		s.lease.Store(nil)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end the session: %w", ctx.Err())
	}
}

// run keeps a session until the context ends. It returns an error when the
// cluster refuses this node for good.
func (s *session) run(ctx context.Context) error {
	s.awaitMap(ctx)
	var inUse conflict
	t := newTenure(s.self().ID, s.dir.identity().Incarnation)
	for ctx.Err() == nil {
		if t.open {
			s.keep(ctx, &t)
			continue
		}
		err := s.open(ctx, &t)
		switch {
		case errors.Is(err, errStaleIncarnation):
		case errors.Is(err, ErrUnknown):
			sleep(ctx, minRetryDelay)
		case errors.Is(err, ErrDataDir), errors.Is(err, ErrJoinRefused):
			return err
		case inUse.outlasts(err, s.leaseDuration()):
			return fmt.Errorf("%w: NodeID: %w: give this node another ID", ErrJoinRefused, err)
		case err != nil && ctx.Err() == nil:
			s.log.Debug("session not opened yet", "error", err)
			sleep(ctx, maxRetryDelay)
		}
	}
	return nil
}

// leaseDuration is the cluster's, as far as it is known.
func (s *session) leaseDuration() time.Duration {
	if m := s.state.Map(); m != nil {
		return m.Config.LeaseDuration
	}
	return DefaultLeaseDuration
}

// open registers this node once.
func (s *session) open(ctx context.Context, t *tenure) error {
	node := s.self()
	node.Incarnation = t.session.Incarnation
	if err := s.dir.update(func(id *identity) { id.Incarnation = node.Incarnation }); err != nil {
		return err
	}
	s.incarnation.Store(node.Incarnation)
	verdict, err := s.propose(ctx, registerCommand{Node: node, DropCopies: s.dropCopies})
	if t.registered(verdict, err); t.open {
		s.log.Info("session opened", "incarnation", node.Incarnation)
	}
	return err
}

// keep renews the session once, and waits until it has to be renewed again.
func (s *session) keep(ctx context.Context, t *tenure) {
	lease := s.leaseDuration()
	asked := s.clock.Now()
	// An answer that comes later would grant what has run out.
	resp, err := s.renewOnce(ctx, t.session, lease)
	if err != nil {
		s.failures.Add(1)
		s.log.Debug("session not renewed", "error", err)
		sleep(ctx, lease/renewalsPerLease/10)
		return
	}
	ended := t.session
	if t.renewed(asked, resp); !t.open {
		s.log.Warn("session was ended by the leader, opening another", "incarnation", ended.Incarnation)
		s.changed()
		return
	}
	s.renewals.Add(1)
	granted := t.lease
	s.lease.Store(&granted)
	s.changed()
	sleep(ctx, resp.Again)
}

func (s *session) renewOnce(ctx context.Context, ref sessionRef, timeout time.Duration) (renewResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.renew(ctx, renewRequest{Session: ref, Applied: s.applied()})
	if err == nil {
		err = errorOf(resp.Code, resp.Message)
	}
	return resp, err
}
