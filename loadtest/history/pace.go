package history

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// pace says when a client may begin its next operation.
type pace struct {
	think    time.Duration
	interval time.Duration

	mu   sync.Mutex
	next time.Time
}

func newPace(cfg Config) *pace {
	p := &pace{think: cfg.Think, next: time.Now()}
	if cfg.Rate > 0 {
		p.interval = time.Duration(float64(time.Second) / cfg.Rate)
	}
	return p
}

// wait waits for a client's turn. It returns false when ctx has ended.
func (p *pace) wait(ctx context.Context, rng *rand.Rand) bool {
	switch {
	case p.interval > 0:
		p.mu.Lock()
		at := p.next
		if now := time.Now(); at.Before(now) {
			at = now // what was missed is not made up for
		}
		p.next = at.Add(p.interval)
		p.mu.Unlock()
		pause(ctx, time.Until(at))
	case p.think > 0:
		pause(ctx, time.Duration(rng.Int64N(int64(2*p.think))))
	}
	return ctx.Err() == nil
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
