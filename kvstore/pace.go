package kvstore

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
)

// adaptEvery is how often the rate of copies is held against what requests
// take.
const adaptEvery = time.Second

// pace bounds the bytes that copies take in and give out on this node.
type pace struct {
	own     migration.Settings
	in, out *rate.Limiter
	// answered are the requests of clients since the start.
	answered *latencies

	mu       sync.Mutex
	override *api.Throttle
	settings migration.Settings
	rate     float64
	p99      time.Duration
	baseline migration.Baseline
}

// latencies are the buckets of [migration.Requests].
type latencies [len(migration.Requests{})]atomic.Uint64

func (l *latencies) observe(d time.Duration) { l[migration.Bucket(d)].Add(1) }

func (l *latencies) load() (r migration.Requests) {
	for i := range l {
		r[i] = l[i].Load()
	}
	return r
}

func newPace(own migration.Settings, answered *latencies) *pace {
	p := &pace{own: own, answered: answered, in: rate.NewLimiter(rate.Inf, 0), out: rate.NewLimiter(rate.Inf, 0)}
	p.apply(own)
	return p
}

// follow takes over what the map says for all nodes, or returns why that cannot
// be; the node's own settings hold then.
func (p *pace) follow(m *clusterkit.Map) error {
	value, ok := m.Metadata[migration.MetadataKey]
	if !ok {
		p.set(nil, p.own)
		return nil
	}
	t, err := migration.Decode([]byte(value))
	if err != nil {
		p.set(nil, p.own)
		return err
	}
	p.set(&t, p.own.Override(t))
	return nil
}

func (p *pace) set(override *api.Throttle, s migration.Settings) {
	p.mu.Lock()
	p.override = override
	same := p.settings == s
	p.mu.Unlock()
	if !same {
		p.apply(s)
	}
}

// apply begins at the full rate of the settings.
func (p *pace) apply(s migration.Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
	p.setRate(float64(s.BytesPerSecond))
}

// setRate changes the limiters; 0 is no bound. The lock is held.
func (p *pace) setRate(bytes float64) {
	p.rate = bytes
	limit := rate.Limit(bytes)
	if bytes == 0 {
		limit = rate.Inf
	}
	for _, l := range []*rate.Limiter{p.in, p.out} {
		l.SetLimit(limit)
		l.SetBurst(migration.Burst(float64(limit)))
	}
}

// now returns the rate at the moment, infinite for no bound.
func (p *pace) now() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return math.Inf(1)
	}
	return p.rate
}

// part returns how many bytes to send or to read between two looks at the rate.
func (p *pace) part() int { return migration.Burst(p.now()) }

// bounded reports whether there is a rate.
func (p *pace) bounded() bool { return !math.IsInf(p.now(), 1) }

// chunkBytes returns how much to ask a source for at once.
func (p *pace) chunkBytes() int { return migration.ChunkBytes(p.now()) }

func (p *pace) copies() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings.Copies
}

// take waits until n bytes may pass, in parts that l lets pass at once.
func take(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 {
		part := n
		if l.Limit() != rate.Inf {
			part = min(n, max(l.Burst(), 1))
		}
		if err := l.WaitN(ctx, part); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if part <= l.Burst() {
				return err
			}
			continue // the burst has been lowered meanwhile
		}
		n -= part
	}
	return nil
}

// owe takes bytes that have been given without waiting for their turn, and debt
// returns how long to wait before more are.
func (p *pace) owe(n int) {
	for now := time.Now(); n > 0 && p.out.Limit() != rate.Inf; {
		part := min(n, max(p.out.Burst(), 1))
		p.out.ReserveN(now, part)
		n -= part
	}
}

func (p *pace) debt() time.Duration {
	limit := p.out.Limit()
	if limit == rate.Inf {
		return 0
	}
	return max(0, time.Duration(-p.out.Tokens()/float64(limit)*float64(time.Second)))
}

// adapt changes the rate while copies go on, as busy says, and learns what
// requests take while none do, until the context ends.
func (p *pace) adapt(ctx context.Context, busy func() bool) {
	ticker := time.NewTicker(adaptEvery)
	defer ticker.Stop()
	before := p.answered.load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		total := p.answered.load()
		p.window(total.Since(before), busy())
		before = total
	}
}

func (p *pace) window(r migration.Requests, busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p99, ok := r.P99()
	p.p99 = p99
	if !busy {
		if ok {
			p.baseline = p.baseline.Observe(p99)
		}
		p.setRate(float64(p.settings.BytesPerSecond))
		return
	}
	next := p.settings.Adapt(p.rate, p99, p.baseline.P99())
	if p.settings.BytesPerSecond == 0 && next >= p.settings.Adapt(0, 0, 0) {
		next = 0
	}
	p.setRate(next)
}

// state returns what copies are bound by.
func (p *pace) state() api.ThrottleState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return api.ThrottleState{
		BytesPerSecond: p.settings.BytesPerSecond, Copies: p.settings.Copies, P99Multiple: p.settings.P99Multiple,
		Override: p.override, Rate: int64(p.rate),
		P99: p.p99.Seconds(), Baseline: p.baseline.P99().Seconds(),
	}
}
