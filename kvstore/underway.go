package kvstore

import (
	"context"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// deposedGrace is how long a write that was sent to a primary may go on
// waiting for its answer after another epoch has begun. One that handed over
// answers within milliseconds; one that was deposed may never.
const deposedGrace = time.Second

// underway are the writes that other nodes are executing for this one.
type underway struct {
	mu     sync.Mutex
	writes map[*forwarded]struct{}
}

type forwarded struct {
	partition int
	epoch     uint64
	cancel    context.CancelFunc
}

// begin returns a context that ends some time after the partition has entered
// a later epoch. The caller calls done when the write has been answered.
func (u *underway) begin(ctx context.Context, partition int, epoch uint64) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	f := &forwarded{partition, epoch, cancel}
	u.mu.Lock()
	if u.writes == nil {
		u.writes = map[*forwarded]struct{}{}
	}
	u.writes[f] = struct{}{}
	u.mu.Unlock()
	return ctx, func() {
		u.mu.Lock()
		delete(u.writes, f)
		u.mu.Unlock()
		cancel()
	}
}

// follow ends, after the grace, the writes whose primary the map has deposed.
func (u *underway) follow(m *clusterkit.Map) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for f := range u.writes {
		if m.Partitions[f.partition].Epoch > f.epoch {
			time.AfterFunc(deposedGrace, f.cancel)
			delete(u.writes, f)
		}
	}
}
