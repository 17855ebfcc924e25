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

// lease is the right to act in a session, until the clock reads so much.
type lease struct {
	session sessionRef
	until   time.Duration
}

// renewalsPerLease is how often a node renews in the course of one lease.
const renewalsPerLease = 4

// holdsIn reports whether this node may act in the roles that it has in the
// map, nil for none. The map must show the session of the lease open: it then
// includes the entry that opened it, and with it every change of this node's
// roles that came before. The clock is read last, so that whatever the caller
// has checked before was so while the lease held.
func (s *session) holdsIn(m *Map) bool {
	l := s.lease.Load()
	return m != nil && l != nil && l.session.openIn(m) && s.clock.Now() < l.until
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
	next := s.dir.identity().Incarnation + 1
	for ctx.Err() == nil {
		opened, err := s.open(ctx, next)
		next = opened
		outlasted := inUse.outlasts(err, s.leaseDuration())
		switch {
		case err == nil:
			s.keep(ctx)
			next++
		case errors.Is(err, ErrDataDir):
			return err
		case outlasted:
			return fmt.Errorf("%w: NodeID: %w: give this node another ID", ErrJoinRefused, err)
		case ctx.Err() == nil:
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

// open registers this node under an incarnation that no session had: the given
// one or, if the leader knows of a higher one, the next above that. It returns
// the last it has tried. The number is on disk before it is used, and may be
// repeated as long as the outcome is not known.
func (s *session) open(ctx context.Context, incarnation uint64) (uint64, error) {
	for {
		if err := s.dir.update(func(id *identity) { id.Incarnation = incarnation }); err != nil {
			return incarnation, err
		}
		s.incarnation.Store(incarnation)
		node := s.self()
		node.Incarnation = incarnation
		verdict, err := s.propose(ctx, registerCommand{Node: node, DropCopies: s.dropCopies})
		switch {
		case err == nil:
			s.log.Info("session opened", "incarnation", incarnation)
			return incarnation, nil
		case errors.Is(err, errStaleIncarnation):
			incarnation = max(incarnation, verdict.Incarnation) + 1
		case errors.Is(err, ErrUnknown) && ctx.Err() == nil:
			sleep(ctx, minRetryDelay)
		default:
			return incarnation, err
		}
	}
}

// keep renews the session until it was ended or the context ends.
func (s *session) keep(ctx context.Context) {
	ref := sessionRef{Node: s.self().ID, Incarnation: s.incarnation.Load()}
	interval := DefaultLeaseDuration / renewalsPerLease
	for ctx.Err() == nil {
		asked := s.clock.Now()
		// An answer that comes later would grant what has run out.
		resp, err := s.renewOnce(ctx, ref, renewalsPerLease*interval)
		switch {
		case err != nil:
			s.failures.Add(1)
			s.log.Debug("session not renewed", "error", err)
			sleep(ctx, interval/10)
			continue
		case !resp.Open:
			s.log.Warn("session was ended by the leader, opening another", "incarnation", ref.Incarnation)
			s.changed()
			return
		}
		s.renewals.Add(1)
		interval = resp.Lease / renewalsPerLease
		s.lease.Store(&lease{session: ref, until: asked + resp.Lease})
		s.changed()
		sleep(ctx, resp.Again)
	}
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
