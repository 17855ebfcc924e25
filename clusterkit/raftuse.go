package clusterkit

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftUse has the goroutines that wait for answers of Raft. When Raft is shut
// down it forgets the entries that are on their way to the state machine, and
// never answers who waits for them (hashicorp/raft 1.8.0, runFSM). So nobody
// may be waiting by then.
type raftUse struct {
	mu    sync.Mutex
	ended bool
	wg    sync.WaitGroup
}

// raftPatience bounds the wait for answers: those that a healthy disk still
// gives, and otherwise the end of the leadership.
const raftPatience = time.Second

// run starts the goroutine, unless the use of Raft has ended.
func (u *raftUse) run(f func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		u.wg.Go(f)
	}
	return !u.ended
}

// shutdown shuts Raft down when nobody waits for it any more, or the wait has
// lasted long enough. The result is Raft's own.
func (u *raftUse) shutdown(r *raft.Raft) raft.Future {
	u.mu.Lock()
	u.ended = true
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), raftPatience)
	defer cancel()
	_ = waitFor(ctx, &u.wg)
	return r.Shutdown()
}
