package clusterkit

import (
	"context"
	"sync"
)

// watchers hands maps to whoever watches.
type watchers struct {
	current func() *Map

	mu sync.Mutex
	// open is nil once closed.
	open map[*watcher]struct{}
}

type watcher struct{ maps chan *Map }

func newWatchers(current func() *Map) *watchers {
	return &watchers{current: current, open: make(map[*watcher]struct{})}
}

func (w *watchers) watch(ctx context.Context) <-chan *Map {
	one := &watcher{maps: make(chan *Map, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		close(one.maps)
		return one.maps
	}
	w.open[one] = struct{}{}
	if m := w.current(); m != nil {
		one.maps <- m
	}
	context.AfterFunc(ctx, func() { w.remove(one) })
	return one.maps
}

func (w *watchers) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.open[one]; ok {
		delete(w.open, one)
		close(one.maps)
	}
}

// publish replaces what a slow watcher has not taken. It does not block.
func (w *watchers) publish(m *Map) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.open {
		select {
		case <-one.maps:
		default:
		}
		one.maps <- m
	}
}

// close ends all watches.
func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.open {
		close(one.maps)
	}
	w.open = nil
}
