package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// keeper keeps the sessions during one term of this leader: one goroutine
// renews and ends them, so that none is ended while its renewal is on the way.
// What to do is for the table to decide.
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

	// mu guards the table, which is nil before run.
	mu    sync.Mutex
	table *sessionTable
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
	if k.table == nil {
		return 0
	}
	return k.table.applied[s]
}

// knowsOthers reports whether enough is known to register the node, where that
// drops copies.
func (k *keeper) knowsOthers(m *Map, registering Node) bool {
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table != nil && k.table.knowsOthers(m, registering, now)
}

// gatherDelay lets the renewals of a beat come together in one entry.
const gatherDelay = 5 * time.Millisecond

// run returns when the term has ended.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	k.begin()
	timer := time.NewTimer(0)
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
		if len(batch) > 0 && !k.renewAll(ctx, batch) || !k.endSilent(ctx) {
			return
		}
		timer.Reset(k.look())
	}
}

func (k *keeper) begin() {
	m := k.state.Map()
	table := newSessionTable(k.term, m, k.clock.Now(), k.dropCopies)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table = table
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
func (k *keeper) renewAll(ctx context.Context, batch []renewal) bool {
	requests := make([]renewRequest, len(batch))
	for i, r := range batch {
		requests[i] = r.req
	}
	verdict, err := k.apply(ctx, k.table.renewal(requests))
	for i, answer := range k.renewed(requests, verdict, err) {
		batch[i].reply <- answer
	}
	return k.goesOn(ctx, "renew sessions", err)
}

func (k *keeper) renewed(requests []renewRequest, verdict result, err error) []renewResponse {
	m := k.state.Map()
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.renewed(requests, verdict, err, m, now)
}

// endSilent ends the sessions of silent nodes. It reports whether the term goes
// on.
func (k *keeper) endSilent(ctx context.Context) bool {
	ending, due := k.ending()
	if !due {
		return true
	}
	k.log.Warn("sessions ended: the nodes were silent", "sessions", ending.Sessions)
	_, err := k.apply(ctx, ending)
	return k.goesOn(ctx, "end sessions", err)
}

func (k *keeper) ending() (endSessionCommand, bool) {
	m := k.state.Map()
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.ending(m, now)
}

func (k *keeper) look() time.Duration {
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.look(now)
}

// goesOn is false when the term must be taken for over: after an unknown
// outcome the next one begins with a new count of all leases.
func (k *keeper) goesOn(ctx context.Context, operation string, err error) bool {
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoLeader) {
		k.log.Warn("control plane: "+operation+" failed", "error", err)
	}
	return err == nil
}
