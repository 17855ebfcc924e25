package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// stopTimeout bounds [ClusterKit.Stop].
	stopTimeout = 10 * time.Second
	// goodbyeTimeout bounds how long a node that stops tells the others; without
	// it they would learn of it when the session has run out.
	goodbyeTimeout = 1500 * time.Millisecond
)

// PrepareStop makes known that this node is going to be shut down: from then on
// nobody makes it a primary, though it keeps those that it has. An application
// with Options.ManagedReplication hands these over then, in its own time, and
// calls [ClusterKit.Shutdown] when it has; the others have no use for it. It ends
// with the session. Its errors match [ErrNoLeader], [ErrUnknown], or [ErrStale]
// if this node has no session.
func (ck *ClusterKit) PrepareStop(ctx context.Context) error {
	return ck.change(ctx, "prepare to stop", prepareStopCommand{Session: ck.sessionRef()})
}

// Stop is [ClusterKit.Shutdown] within ten seconds. It may be called again.
func (ck *ClusterKit) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return ck.Shutdown(ctx)
}

// Shutdown ends a [ClusterKit.Start] that is going on, which then returns
// [ErrStopped]. It gives up the lease, ends the session, so that others take
// over this node's partitions at once, and stops everything. When it returns
// nil, no goroutine of this node is left. The context bounds the wait for hooks
// and event handlers that are running, and for a disk that hangs; an application
// that replicates by itself hands its primaries over before.
func (ck *ClusterKit) Shutdown(ctx context.Context) error {
	err := ck.halt(ctx, func() error {
		if ck.started && ck.ctx.Err() == nil {
			ck.sayGoodbye(ctx)
		}
		return ck.tearDown(ctx)
	})
	// A hook may itself be what called this, and another one too.
	return errors.Join(err, ck.hooks.wait(ctx), ck.events.wait(ctx))
}

// halt ends the node, and a start that is going on before.
func (ck *ClusterKit) halt(ctx context.Context, how func() error) error {
	ck.stopping.Store(true)
	ck.abortStart()
	select {
	case ck.life <- struct{}{}:
	default:
		select {
		case ck.life <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("another start or stop of this node has not ended: %w", ctx.Err())
		}
	}
	defer func() { <-ck.life }()
	return how()
}

// Abort stops the node as a crash does, except that its files are closed: no
// session is ended and nobody is told, so that the others take over when the
// lease has run out. It is for an application that must not be trusted any
// more, and for tests. It does not wait for hooks that are running;
// [ClusterKit.Shutdown] may be called afterwards to do that. The context bounds
// the wait for a disk that hangs.
func (ck *ClusterKit) Abort(ctx context.Context) error {
	return ck.halt(ctx, func() error {
		if ck.net != nil {
			ck.net.sever()
		}
		return ck.tearDown(ctx)
	})
}

// sayGoodbye is best effort: what it does not reach happens when the session
// runs out.
func (ck *ClusterKit) sayGoodbye(ctx context.Context) {
	r := ck.book.raft.Load()
	if r == nil || r.State() == raft.Shutdown {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	if err := ck.session.stop(ctx); err != nil {
		ck.log.Debug("goodbye not said", "error", err)
		return
	}
	ref := ck.sessionRef()
	if m := ck.Map(); m != nil && ref.openIn(m) {
		if _, err := ck.proposer.propose(ctx, endSessionCommand{Sessions: []sessionRef{ref}, DropCopies: !ck.opts.ManagedReplication}); err != nil {
			ck.log.Debug("goodbye not said", "error", err)
		}
	}
	ck.handOnLeadership(ctx, r)
}

// handOnLeadership returns when another node leads Raft, or none can, or the
// context has ended.
func (ck *ClusterKit) handOnLeadership(ctx context.Context, r *raft.Raft) {
	if err := handOnLeadership(ctx, r); err != nil {
		ck.log.Debug("leadership not handed over", "error", err)
	}
}

// tearDown stops what runs, in any state of the start, except for hooks that
// are running. It does so once.
func (ck *ClusterKit) tearDown(ctx context.Context) error {
	ck.stopOnce.Do(func() {
		ck.stopping.Store(true)
		ck.cancel()
		ck.leave()
		ck.hooks.stop()
		released := make(chan error, 1)
		go func() { released <- ck.release() }()
		select {
		case ck.stopErr = <-released:
		case <-ctx.Done():
			ck.stopErr = dataDirError("%q is still in use and stays locked, a request or a write to the disk has not ended: %w", ck.opts.DataDir, ctx.Err())
		}
		ck.metrics.unregister()
		ck.end(ErrStopped)
	})
	return ck.stopErr
}

// release ends everything that needs the data directory, and gives it free
// then. It waits for writes that are going on.
func (ck *ClusterKit) release() error {
	var errs []error
	if r := ck.book.raft.Load(); r != nil {
		stopped := ck.raftUse.shutdown(r)
		ck.net.close()
		errs = append(errs, stopped.Error())
	} else if ck.net != nil {
		ck.net.close()
	}
	errs = append(errs, ck.session.stop(context.Background()))
	ck.watch.close()
	ck.wg.Wait()
	ck.raftUse.wg.Wait()
	errs = append(errs, ck.hooks.cursor.flush())
	if ck.store != nil {
		errs = append(errs, ck.store.close())
	}
	return errors.Join(append(errs, ck.dir.close())...)
}

// fail makes this node useless for good, and says so through Done. It does not
// block: the state machine calls it.
func (ck *ClusterKit) fail(err error) {
	switch turnedAway := errors.Is(err, ErrJoinRefused) && !errors.Is(err, errNodeIDInUse); {
	case turnedAway && ck.departing.Load():
		err = ErrLeft
		ck.log.Info("this node has left the cluster")
	case turnedAway && ck.session.incarnation.Load() != 0:
		err = fmt.Errorf("%w: %w", ErrLeft, err)
		ck.log.Info("this node was taken out of the cluster", "reason", err)
	default:
		ck.log.Error("this node cannot be part of the cluster", "error", err)
	}
	ck.end(err)
	ck.leave()
}

// resign waits until this node is out of the cluster. If it failed, it must not
// lead the others, nor be elected again, for as long as it is not stopped.
func (ck *ClusterKit) resign(r *raft.Raft) {
	<-ck.inCluster.Done()
	if ck.ctx.Err() != nil {
		return
	}
	ck.handOnLeadership(ck.ctx, r)
	if err := ck.raftUse.shutdown(r).Error(); err != nil {
		ck.log.Warn("Raft not shut down in order", "error", err)
	}
}

func (ck *ClusterKit) end(err error) {
	ck.doneOnce.Do(func() {
		ck.fatalErr.Store(&err)
		close(ck.done)
		ck.ready.notify()
	})
}

// Done is closed when the cluster has turned this node away for good, or the
// node has stopped. The node still has to be stopped in the first case.
func (ck *ClusterKit) Done() <-chan struct{} { return ck.done }

// Err returns why Done is closed, [ErrStopped] after a stop, nil while it is
// open.
func (ck *ClusterKit) Err() error {
	if err := ck.fatalErr.Load(); err != nil {
		return *err
	}
	return nil
}
