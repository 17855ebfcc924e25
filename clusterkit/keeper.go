package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// keeper keeps the sessions during one term of this leader: one goroutine
// renews and ends them, so that none is ended while its renewal is on the way.
type keeper struct {
	term       uint64
	clock      Clock
	state      *fsm
	apply      func(ctx context.Context, c command) (result, error)
	dropCopies bool
	log        *slog.Logger
	renewals   chan renewal
	// done is closed when run returns.
	done chan struct{}

	mu sync.Mutex
	// applied holds the last reported Raft index of each session.
	applied map[sessionRef]uint64
	// unheard has the sessions that were open when this keeper began and that
	// have not been renewed since: it is not known whether their nodes live.
	// nil before run.
	unheard map[sessionRef]bool
}

type renewal struct {
	req   renewRequest
	reply chan renewResponse
}

// renew has the session renewed with the next entry.
func (k *keeper) renew(ctx context.Context, req renewRequest) (renewResponse, error) {
	r := renewal{req: req, reply: make(chan renewResponse, 1)}
	select {
	case k.renewals <- r:
	case <-k.done:
		return renewResponse{}, fmt.Errorf("%w: its term has ended", ErrNoLeader)
	case <-ctx.Done():
		return renewResponse{}, ctx.Err()
	}
	select {
	case resp := <-r.reply:
		return resp, nil
	case <-ctx.Done():
		return renewResponse{}, ctx.Err()
	}
}

// appliedIndex returns what the session last reported, 0 if nothing.
func (k *keeper) appliedIndex(s sessionRef) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.applied[s]
}

// knowsOthers reports whether every other session that the map shows open was
// heard in this term, so that the map says truly who is present.
func (k *keeper) knowsOthers(m *Map, node string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for s := range k.unheard {
		if s.Node != node && s.openIn(m) {
			return false
		}
	}
	return k.unheard != nil
}

func (k *keeper) expectAll(m *Map) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unheard = make(map[sessionRef]bool)
	for _, n := range m.Nodes {
		if n.Alive {
			k.unheard[sessionRef{Node: n.ID, Incarnation: n.Incarnation}] = true
		}
	}
}

func (k *keeper) heard(s sessionRef) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.unheard, s)
}

// gatherDelay lets the renewals of a beat come together in one entry.
const gatherDelay = 5 * time.Millisecond

// run returns when the term has ended. All sessions count as granted at its
// beginning: earlier leaders may have granted leases until then.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	table := newSessionTable()
	m := k.state.Map()
	k.expectAll(m)
	wait := deposeAfter(m.Config.LeaseDuration)
	interval := m.Config.LeaseDuration / renewalsPerLease
	turn := k.clock.Now()
	table.follow(m, turn)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		var batch []renewal
		select {
		case <-ctx.Done():
			return
		case r := <-k.renewals:
			batch = append(batch, r)
			sleep(ctx, gatherDelay)
		case <-timer.C:
		}
		batch = append(batch, k.waiting()...)

		if len(batch) > 0 && !k.renewAll(ctx, table, batch, interval) {
			return
		}
		// Who was not heard while this leader stood still was perhaps not
		// silent.
		now := k.clock.Now()
		if pause := now - turn; pause > wait/2 {
			table.postpone(pause)
		}
		turn = now
		if !k.endExpired(ctx, table, wait) {
			return
		}
		timer.Reset(min(wait/8, table.nextExpiry(k.clock.Now(), wait)))
	}
}

// waiting returns the renewals that have gathered meanwhile.
func (k *keeper) waiting() []renewal {
	var out []renewal
	for {
		select {
		case r := <-k.renewals:
			out = append(out, r)
		default:
			return out
		}
	}
}

// renewAll commits the renewals in one entry. It reports whether the term goes
// on.
func (k *keeper) renewAll(ctx context.Context, table *sessionTable, batch []renewal, interval time.Duration) bool {
	c := renewCommand{Term: k.term}
	for _, r := range batch {
		c.Sessions = append(c.Sessions, r.req.Session)
	}
	verdict, err := k.apply(ctx, c)
	now := k.clock.Now()
	m := k.state.Map()
	table.follow(m, now)
	for i, r := range batch {
		resp := renewResponse{Lease: m.Config.LeaseDuration, Again: nextBeat(now, interval)}
		switch {
		case err != nil:
			resp = renewResponse{Code: codeOf(err), Message: err.Error()}
		case verdict.Renewed[i]:
			resp.Open = true
			k.heard(r.req.Session)
			table.renewed(r.req.Session, now, r.req.Applied)
		}
		r.reply <- resp
	}
	k.mu.Lock()
	k.applied = maps.Clone(table.applied)
	k.mu.Unlock()
	return k.goesOn(ctx, "renew sessions", err)
}

// nextBeat returns when to renew again, so that all nodes do at the same time:
// in one interval, give or take a half.
func nextBeat(now, interval time.Duration) time.Duration {
	next := interval - now%interval
	if next < interval/2 {
		next += interval
	}
	return next
}

// endExpired reports whether the term goes on.
func (k *keeper) endExpired(ctx context.Context, table *sessionTable, wait time.Duration) bool {
	table.follow(k.state.Map(), k.clock.Now())
	expired := table.expired(k.clock.Now(), wait)
	for _, s := range expired {
		k.log.Warn("session ended: the node was silent", "peer", s.Node, "incarnation", s.Incarnation)
		_, err := k.apply(ctx, endSessionCommand{Term: k.term, Session: s, DropCopies: k.dropCopies, Silent: expired})
		if !k.goesOn(ctx, "end session", err) {
			return false
		}
	}
	return true
}

// goesOn is false when the term must be taken for over: after an unknown
// outcome the next one begins with a new count of all leases.
func (k *keeper) goesOn(ctx context.Context, operation string, err error) bool {
	if err == nil {
		return true
	}
	if ctx.Err() == nil && !errors.Is(err, ErrNoLeader) {
		k.log.Warn("control plane: "+operation+" failed", "error", err)
	}
	return errors.Is(err, ErrStale)
}
