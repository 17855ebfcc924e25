package kvstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

// Options configure a [Node].
type Options struct {
	// Dir holds the node's log and data. It belongs to the store that
	// Cluster.StoreID names, for ever.
	Dir string
	// Cluster is the control plane. It may not have started yet.
	Cluster Cluster
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Registerer receives the metrics, their names beginning with "kvstore_".
	// Default: a registry of this node's own.
	Registerer prometheus.Registerer
	// CacheBytes is how much of what has been read stays in memory. Default 32
	// MiB.
	CacheBytes int
	// ScrubBytesPerSecond and ScrubEvery say how fast and how often all data
	// are verified; see [storage.Options].
	ScrubBytesPerSecond int
	ScrubEvery          time.Duration
	// Migration says how much copies may take, unless the cluster has another
	// throttle. Default [migration.Defaults].
	Migration migration.Settings
	// CollectPerSecond is how many keys of copies that were given up are deleted
	// in a second; see [storage.Options].
	CollectPerSecond int
	// LogRetainBytes is how much of the log is kept for replicas to catch up from;
	// see [wal.Options].
	LogRetainBytes int64
	// LogFS is the file system of the log, which also says how much space there
	// is for the data. Default [wal.OS].
	LogFS wal.FS
	// Rules can be broken on purpose, in builds with the tag "planted" only.
	Rules planted.Rules
}

const defaultCacheBytes = 32 << 20

// ErrLogMissing is returned by [Open] when there is data but not the log
// with the promises that the node gave: such a disk must not take part.
var ErrLogMissing = errors.New("kvstore: the data directory has lost its log")

// Node is the data plane on one node: its replicas and the goroutines that
// carry their work out.
type Node struct {
	cluster Cluster
	log     *slog.Logger
	config  partition.Config
	self    replication.Peer
	started time.Time

	storage    *storage.Store
	commitLog  *commitLog
	applier    *applier
	metrics    *metrics
	peers      *peers
	proposals  *proposals
	pace       *pace
	migrations *migrations
	pins       *pins
	// comparisons are those of copies that this node leads with others.
	comparisons *comparisons
	receiver    *replication.Receiver

	mu       sync.RWMutex
	replicas map[uint32]*replica
	// released holds the promises given for partitions that have gone.
	released map[uint32]uint64

	damaged damagedCopies
	// dropped is signalled when the data of a released partition are gone.
	dropped chan struct{} // one slot

	// changed is announced whenever a role or the map has changed.
	changed  changes
	underway underway
	scans    scans
	diskFull atomic.Bool
	readTime readTime
	clock    *expiryClock
	cache    *cache
	// session is the incarnation of the first session of this process that a
	// map has shown; only reconcile uses it.
	session uint64

	failed   chan struct{}
	failOnce sync.Once
	failure  error

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Open recovers the log and the data in opts.Dir and starts the node. It
// takes part as soon as the control plane has given it something to do.
func Open(opts Options) (*Node, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	if opts.Registerer == nil {
		opts.Registerer = prometheus.NewRegistry()
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = defaultCacheBytes
	}
	if opts.LogFS == nil {
		opts.LogFS = wal.OS
	}
	if opts.Migration == (migration.Settings{}) {
		opts.Migration = migration.Defaults()
	}
	self := opts.Cluster.Self()
	n := &Node{
		cluster:  opts.Cluster,
		log:      opts.Logger,
		self:     replication.Peer{Node: self.ID, Store: self.Store},
		started:  time.Now(),
		replicas: map[uint32]*replica{},
		released: map[uint32]uint64{},
		damaged:  damagedCopies{lost: map[uint32]partition.State{}, kept: map[uint32]bool{}},
		dropped:  make(chan struct{}, 1),
		failed:   make(chan struct{}),
		clock:    newExpiryClock(),
		cache:    newCache(opts.CacheBytes),
		ctx:      ctx,
		cancel:   cancel,
	}
	n.config = partition.DefaultConfig(n.self.Node, n.self.Store)
	n.config.Rules = opts.Rules
	n.metrics = newMetrics()
	n.applier = newApplier(n)
	n.peers = newPeers(n)
	n.proposals = newProposals(n)
	n.comparisons = newComparisons(ctx, n)
	n.pace = newPace(opts.Migration, &n.metrics.answered)
	n.migrations = newMigrations(n)
	n.pins = newPins(n)
	n.receiver = replication.NewReceiver(n.clusterUUID, n.self, n.deliver, n.metrics.reject, n.log)
	if err := n.recover(opts); err != nil {
		cancel()
		return nil, err
	}
	if err := n.metrics.register(n, opts.Registerer); err != nil {
		cancel()
		return nil, errors.Join(err, n.commitLog.log.Close(), n.storage.Close())
	}
	n.wg.Go(func() { n.commitLog.run(ctx) })
	n.wg.Go(func() { n.applier.run(ctx) })
	for range proposalWorkers {
		n.wg.Go(func() { n.proposals.run(ctx) })
	}
	n.wg.Go(func() { n.reconcile(ctx) })
	n.wg.Go(func() { n.standDown(ctx) })
	n.wg.Go(func() { n.pace.adapt(ctx, n.moving) })
	n.wg.Go(func() { n.scans.run(ctx) })
	return n, nil
}

// recover opens what the disk holds and makes the replicas from it.
func (n *Node) recover(opts Options) error {
	dir := opts.Dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	store, err := storage.Open(storage.Options{
		Dir: filepath.Join(dir, "data"), StoreID: n.self.Store,
		ScrubBytesPerSecond: opts.ScrubBytesPerSecond, ScrubEvery: opts.ScrubEvery,
		CollectPerSecond: opts.CollectPerSecond, Free: opts.LogFS.Free, Logger: n.log,
	})
	if err != nil {
		return err
	}
	log, rec, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "log"), RetainBytes: opts.LogRetainBytes, FS: opts.LogFS, Logger: n.log})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	n.storage = store
	n.commitLog = newCommitLog(n, log)
	if err := n.recoverReplicas(rec); err != nil {
		return errors.Join(err, log.Close(), store.Close())
	}
	return nil
}

func (n *Node) recoverReplicas(rec *wal.Recovery) error {
	held := slices.Collect(maps.Keys(n.storage.Checkpoints()))
	for _, id := range slices.AppendSeq(held, maps.Keys(n.storage.DamagedPartitions())) {
		if len(rec.Partitions[id].State) == 0 {
			return fmt.Errorf("%w: there is data of partition-%d and no state; remove the data directory to rejoin with an empty disk", ErrLogMissing, id)
		}
	}
	for id, p := range rec.Partitions {
		if err := n.recoverReplica(id, p); err != nil {
			return fmt.Errorf("partition-%d: %w", id, err)
		}
	}
	return nil
}

func (n *Node) recoverReplica(id uint32, p wal.Recovered) error {
	state, err := decodeState(p.State)
	if err != nil {
		return err
	}
	if state.Incarnation == 0 {
		n.released[id] = state.Promise
		return n.storage.Drop(id)
	}
	if n.checkpointLost(id) {
		n.damaged.lost[id] = state
		return nil
	}
	rec, err := n.recovered(id, p)
	if err != nil {
		return err
	}
	rec.State = state
	_, err = n.newReplica(id, rec)
	return err
}

// recovered puts together what log and storage know of a partition.
func (n *Node) recovered(id uint32, p wal.Recovered) (partition.Recovered, error) {
	rec := partition.Recovered{Base: partition.Position(p.Base)}
	for i, run := range p.Runs {
		end := p.Last.LSN + 1
		if i+1 < len(p.Runs) {
			end = p.Runs[i+1].First
		}
		for lsn := run.First; lsn < end; lsn++ {
			rec.Positions = append(rec.Positions, partition.Position{Epoch: run.Epoch, LSN: lsn})
		}
	}
	if c, ok := n.storage.Checkpoint(id); ok {
		rec.Applied = partition.Position{Epoch: c.Epoch, LSN: c.LSN}
	}
	n.commitLog.log.Applied(id, rec.Applied.LSN)
	for lsn := rec.Applied.LSN + 1; lsn <= p.Last.LSN; {
		entries, err := n.commitLog.log.Read(id, lsn, n.config.MaxBatchBytes)
		if err != nil {
			return rec, err
		}
		for _, e := range entries {
			rec.Unapplied = append(rec.Unapplied, partition.Entry(e))
		}
		lsn += uint64(len(entries))
	}
	return rec, nil
}

func (n *Node) newReplica(id uint32, rec partition.Recovered) (*replica, error) {
	sm, err := partition.New(n.config, rec)
	if err != nil {
		return nil, err
	}
	r := &replica{node: n, id: id, incarnation: rec.State.Incarnation, sm: sm, reads: map[uint64]chan bool{}}
	r.pending.Rules = n.config.Rules
	r.overlay.cache, r.overlay.owner = n.cache, n.cache.owner()
	r.do(func(*partition.Replica) {})
	n.mu.Lock()
	n.replicas[id] = r
	n.mu.Unlock()
	return r, nil
}

// release forgets a partition that is no longer assigned to this node, and
// its data. The promise stays: it holds should the partition come back.
func (n *Node) release(r *replica) {
	var promise uint64
	r.do(func(sm *partition.Replica) {
		promise = sm.Promise()
		r.released = true
	})
	n.mu.Lock()
	delete(n.replicas, r.id)
	n.released[r.id] = promise
	n.mu.Unlock()
	n.commitLog.forget(r, partition.State{Promise: promise})
}

// drop removes the data of a released partition, after the log has been told
// to forget it. A copy that is assigned later applies later.
func (n *Node) drop(r *replica) {
	n.applier.between(r, func() {
		if err := n.storage.Drop(r.id); err != nil {
			n.fail(err)
		}
		signal(n.dropped)
	})
}

// releasedBefore is what a new copy of a partition begins with.
func (n *Node) releasedBefore(id uint32) partition.Recovered {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return partition.Recovered{State: partition.State{Promise: n.released[id]}}
}

func (n *Node) replica(id uint32) *replica {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.replicas[id]
}

func (n *Node) allReplicas() []*replica {
	n.mu.RLock()
	defer n.mu.RUnlock()
	all := make([]*replica, 0, len(n.replicas))
	for _, r := range n.replicas {
		all = append(all, r)
	}
	return all
}

func (n *Node) clusterUUID() string {
	if m := n.cluster.Map(); m != nil {
		return m.ClusterUUID
	}
	return ""
}

// Replication returns the handler to be mounted at [replication.Path].
func (n *Node) Replication() http.Handler { return n.receiver }

// Failed is closed when the disk has failed: the node acknowledges nothing
// any more and the process should end. Failure then tells why.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Failure returns the error that closed Failed.
func (n *Node) Failure() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// fail stops the node for good. It may be called under a replica's lock.
func (n *Node) fail(err error) {
	if n.ctx.Err() != nil {
		return
	}
	n.failOnce.Do(func() {
		n.failure = err
		n.log.Error("the node stops: its disk cannot be trusted", "err", err)
		close(n.failed)
		n.cancel()
	})
}

// standDown waits for the context to end. If the disk has failed, it then
// ends all roles: writes that wait are of unknown outcome, and later requests
// are refused.
func (n *Node) standDown(ctx context.Context) {
	<-ctx.Done()
	if n.Failure() == nil {
		return
	}
	withoutCopies := partition.View{Version: math.MaxUint64}
	for _, r := range n.allReplicas() {
		r.do(func(sm *partition.Replica) { sm.Configure(withoutCopies) })
	}
}

// Close stops the node. Requests must have ended before.
func (n *Node) Close() error {
	n.cancel()
	n.wg.Wait()
	n.receiver.Close()
	n.peers.close()
	n.migrations.close()
	n.pins.shut()
	n.comparisons.close()
	return errors.Join(n.commitLog.log.Close(), n.storage.Close())
}
