package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// offer is what a loop has asked of the store, and how well it could.
type offer struct {
	// sent are the operations that were begun, unsent those that were to be begun
	// before the end and were not.
	sent, unsent uint64
	// onTime is the share of the time that it took to begin them in which they
	// were to be begun, 1 if that was long enough.
	onTime float64
	// late is how late operations began though a client was free.
	late Latencies
	// served is the time that the clients spent waiting for answers.
	served time.Duration
	// gap is the longest time between two writes of one client.
	gap time.Duration
}

// closed lets each client begin an operation when its last one has ended, until
// stop is closed. What has begun then is ended, unless ctx ends too.
func (l *load) closed(ctx context.Context, stop <-chan struct{}) offer {
	clients := make([]*client, l.Clients)
	var (
		next    atomic.Uint64
		running sync.WaitGroup
	)
	for i := range clients {
		c := newClient(l, i)
		clients[i] = c
		running.Go(func() {
			if !wait(stop, l.Ramp*time.Duration(i)/time.Duration(l.Clients)) {
				return
			}
			c.wrote = time.Now()
			for !isClosed(stop) {
				if c.do(ctx, next.Add(1)-1, time.Now()) == target.Failed {
					wait(stop, refusedPause)
				}
			}
			c.gap = max(c.gap, time.Since(c.wrote))
		})
	}
	running.Wait()
	o := offer{sent: next.Load()}
	for _, c := range clients {
		o.served += c.served
		o.gap = max(o.gap, c.gap)
	}
	return o
}

// arrival is an operation that is due.
type arrival struct {
	number   uint64
	intended time.Time
	// free is true if a client was waiting for it.
	free bool
}

const (
	// queued is how many operations may wait for a client in the queue; those
	// that are due and have no place there are as late, and no less counted.
	queued = 4096
	// closing is how long after the end operations are begun that were due
	// before.
	closing = time.Second
	// coarse is how exact the timers of Go are taken to be.
	coarse = 2 * time.Millisecond
)

// open lets operations begin as the schedule says, each by the first client that
// is free, until stop is closed or it was time.
func (l *load) open(ctx context.Context, stop <-chan struct{}) offer {
	queue := make(chan arrival, queued)
	var (
		o       offer
		took    time.Duration
		mu      sync.Mutex
		idle    atomic.Int64
		unsent  atomic.Uint64
		end     atomic.Int64 // when the load was to end, in nanoseconds since the start
		running sync.WaitGroup
	)
	end.Store(int64(l.Ramp + l.Warmup + l.Duration))
	for i := range l.Clients {
		running.Go(func() {
			c := newClient(l, i)
			var (
				late Latencies
				last time.Duration
			)
			for {
				idle.Add(1)
				a, more := <-queue
				idle.Add(-1)
				if !more {
					break
				}
				now := time.Now()
				if now.Sub(l.start) > time.Duration(end.Load())+closing || ctx.Err() != nil {
					unsent.Add(1)
					continue
				}
				last = now.Sub(l.start)
				if a.free {
					late.record(now.Sub(a.intended))
				}
				c.do(ctx, a.number, a.intended)
			}
			mu.Lock()
			defer mu.Unlock()
			o.late.merge(late)
			o.served += c.served
			took = max(took, last)
		})
	}
	o.sent = l.dispatch(stop, queue, &idle, &end)
	close(queue)
	running.Wait()
	due := schedule{l.Rate, l.Ramp}.before(time.Duration(end.Load()))
	o.unsent = unsent.Load() + due - min(due, o.sent)
	o.sent -= unsent.Load()
	o.onTime = min(1, time.Duration(end.Load()).Seconds()/max(1e-9, took.Seconds()))
	return o
}

// dispatch puts the operations into the queue when they are due. It returns how
// many there were.
func (l *load) dispatch(stop <-chan struct{}, queue chan<- arrival, idle *atomic.Int64, end *atomic.Int64) uint64 {
	s := schedule{l.Rate, l.Ramp}
	late := make(chan struct{})
	var ending sync.WaitGroup
	done := make(chan struct{})
	ending.Go(func() {
		select {
		case <-stop:
			end.Store(min(end.Load(), int64(time.Since(l.start))))
		case <-done:
			return
		}
		wait(done, closing)
		close(late)
	})
	defer ending.Wait()
	defer close(done)
	for i := uint64(0); ; i++ {
		at := s.at(i)
		if at >= time.Duration(end.Load()) || !l.until(stop, at) {
			return i
		}
		select {
		case queue <- arrival{i, l.start.Add(at), idle.Load() > int64(len(queue))}:
		case <-late:
			return i
		}
	}
}

// until waits until a time since the start. It returns false if stop is closed
// well before.
func (l *load) until(stop <-chan struct{}, at time.Duration) bool {
	for {
		left := at - time.Since(l.start)
		switch {
		case left <= 0:
			return true
		case left > coarse:
			if !wait(stop, left-coarse) {
				return false
			}
		default:
			l.pause(left)
		}
	}
}

// wait returns false if stop is closed before d is over.
func wait(stop <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return !isClosed(stop)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
