package clusterkit

import (
	"context"
	"testing"
)

func TestWatchKeepsTheNewest(t *testing.T) {
	var current *Map
	w := newWatchers(func() *Map { return current })
	ctx, cancel := context.WithCancel(t.Context())
	early := w.watch(ctx)
	for v := range uint64(5) {
		current = &Map{Version: v + 1}
		w.publish(current)
	}
	if m := <-early; m.Version != 5 {
		t.Errorf("a slow watcher got version %d, want the newest", m.Version)
	}
	late := w.watch(t.Context())
	if m := <-late; m.Version != 5 {
		t.Errorf("a new watcher got version %d first", m.Version)
	}
	cancel()
	if _, open := <-early; open {
		t.Error("the channel is open after its context has ended")
	}
	w.publish(&Map{Version: 6})
	if m := <-late; m.Version != 6 {
		t.Errorf("got version %d, want 6", m.Version)
	}
	w.close()
	if _, open := <-late; open {
		t.Error("the channel is open after the close")
	}
	if _, open := <-w.watch(t.Context()); open {
		t.Error("a watch after the close is open")
	}
}
