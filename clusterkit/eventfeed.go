package clusterkit

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
)

// OnEvent adds a handler of what happens in the cluster: nodes join, leave and
// return, a rebalance starts and finishes, the health changes. Every node sees
// it in its own map, as this node does in its; there is no history, the first
// event is the first after this node has joined.
//
// A handler is called for one event after the other, in a goroutine of its own,
// and holds up nobody. One that is slow sees what is true when it looks: if a
// node left and a rebalance came and went meanwhile, it hears of the node alone.
// One that panics is logged, and called for the next event.
//
// Handlers are added before [ClusterKit.Start]; to add one later, or a nil one,
// panics. A handler may call any method of ClusterKit; [ClusterKit.Stop] waits
// for it, as for a hook.
func (ck *ClusterKit) OnEvent(handler func(Event)) {
	if handler == nil {
		panic("clusterkit: OnEvent: the handler is nil")
	}
	ck.events.add(handler)
}

// eventFeeds delivers the events to the handlers.
type eventFeeds struct {
	// joined reports whether the map includes the opening of this node's
	// session.
	joined func(*Map) bool
	log    *slog.Logger

	mu      sync.Mutex
	feeds   []*eventFeed
	started bool
	// newest is nil before the first map that this node has joined in.
	newest *Map
	wg     sync.WaitGroup
}

// eventFeed is one handler and the map up to which it knows.
type eventFeed struct {
	handler  func(Event)
	position *Map
	// dirty holds a token while there may be a newer map.
	dirty chan struct{}
}

func (e *eventFeeds) add(handler func(Event)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started {
		panic("clusterkit: an event handler is added after Start: add it before")
	}
	e.feeds = append(e.feeds, &eventFeed{handler: handler, dirty: make(chan struct{}, 1)})
}

// start delivers until the context ends.
func (e *eventFeeds) start(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	for _, f := range e.feeds {
		e.wg.Go(func() { e.run(ctx, f) })
	}
}

// observe is called with every map, in order. It does not block.
func (e *eventFeeds) observe(next *Map) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := e.newest == nil
	if first && !e.joined(next) {
		return
	}
	e.newest = next
	for _, f := range e.feeds {
		if first {
			f.position = next
			continue
		}
		select {
		case f.dirty <- struct{}{}:
		default:
		}
	}
}

func (e *eventFeeds) run(ctx context.Context, f *eventFeed) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.dirty:
		}
		e.mu.Lock()
		from, to := f.position, e.newest
		f.position = to
		e.mu.Unlock()
		for _, event := range eventsBetween(from, to) {
			if ctx.Err() == nil {
				e.deliver(f, event)
			}
		}
	}
}

func (e *eventFeeds) deliver(f *eventFeed, event Event) {
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("event handler panicked", "event", event.Kind, "error", fmt.Sprintf("%v\n%s", r, debug.Stack()))
		}
	}()
	f.handler(event)
}

// wait waits for the handlers after the context of start has ended, at most
// until its own ends.
func (e *eventFeeds) wait(ctx context.Context) error {
	if err := waitFor(ctx, &e.wg); err != nil {
		return fmt.Errorf("an event handler has not returned: %w", err)
	}
	return nil
}
