package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// ClusterKit is one node of a cluster. Its methods may be called concurrently.
type ClusterKit struct {
	opts    settings
	dir     *dataDir
	storeID string
	// returning: the data directory knew its cluster when it was opened.
	returning bool
	clock     Clock
	log       *slog.Logger
	api       *api

	state      *fsm
	watch      *watchers
	hooks      *hookRunner
	events     *eventFeeds
	handover   *handover
	session    *session
	controller *controller
	founder    *founder
	proposer   *proposer
	book       *addressBook
	addresses  addressFile
	// http asks nodes of which only the HTTP address is known.
	http    *http.Client
	metrics *metrics
	// ready is closed and renewed whenever HoldsLease may have changed.
	ready *broadcast
	// self is this node as it describes itself, without session.
	self     atomic.Pointer[Node]
	stopping atomic.Bool
	// departing: this node is being decommissioned by itself.
	departing atomic.Bool

	// ctx ends when the node stops; wg has its goroutines, except for those that
	// wait for Raft.
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	raftUse raftUse
	// starting ends, at the latest with ctx, when a start is to be given up.
	starting   context.Context
	abortStart context.CancelFunc
	// inCluster ends, at the latest with ctx, when this node cannot be part of
	// the cluster any more.
	inCluster context.Context
	leave     context.CancelFunc

	// life is held by what starts or stops this node; its slot is taken then.
	life    chan struct{}
	started bool
	net     *ports
	store   *raftStore

	stopOnce sync.Once
	stopErr  error
	fatalErr atomic.Pointer[error]
	done     chan struct{}
	doneOnce sync.Once
}

// foundTimeout bounds the wait for the first assignment in [ClusterKit.Start].
const foundTimeout = 30 * time.Second

// NewClusterKit validates the options and takes hold of the data directory. It
// listens on nothing and starts nothing; [ClusterKit.Start] does. The errors
// match [ErrOptions], [ErrDataDir] or [ErrNoCluster]. A ClusterKit that was
// returned must be stopped, also when it was not started.
func NewClusterKit(o Options) (*ClusterKit, error) {
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	if !opts.Bootstrap && len(opts.joinAddrs) == 0 && !hasIdentity(opts.DataDir) {
		return nil, errNoCluster(opts.DataDir)
	}
	dir, err := openDataDir(opts.DataDir, opts.NodeID)
	if err != nil {
		return nil, err
	}
	ck := build(opts, dir)
	ck.hooks.cursor, err = openHookCursor(opts.DataDir, ck.storeID, ck.log)
	if err = errors.Join(err, ck.checkPurpose()); err == nil {
		err = ck.metrics.register()
	}
	if err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return ck, nil
}

// checkPurpose makes sure that the node has a cluster to return to, to found
// or to join, and that it is the one of the options.
func (ck *ClusterKit) checkPurpose() error {
	id := ck.dir.identity()
	if id.ClusterUUID == "" && !ck.opts.Bootstrap && len(ck.opts.joinAddrs) == 0 {
		return errNoCluster(ck.opts.DataDir)
	}
	if id.Config != nil {
		if reason := ck.opts.wanted.contradiction(*id.Config); reason != "" {
			return fmt.Errorf("%w %s", ErrOptions, reason)
		}
	}
	return nil
}

func errNoCluster(dir string) error {
	return fmt.Errorf("%w: DataDir %q has no data: set Bootstrap on the first node of a new cluster, or JoinAddr to the HTTP address of a node of the cluster", ErrNoCluster, dir)
}

// Returning reports whether this data directory was part of a cluster before
// [ClusterKit.Start]: an application whose own data stand beside it must find
// them there, since the others count on them.
func (ck *ClusterKit) Returning() bool { return ck.returning }

// build wires the parts. Nothing runs yet.
func build(opts settings, dir *dataDir) *ClusterKit {
	ck := &ClusterKit{opts: opts, dir: dir, storeID: opts.storeOn(dir), returning: dir.identity().ClusterUUID != "", clock: opts.Clock, done: make(chan struct{}), ready: newBroadcast(), life: make(chan struct{}, 1)}
	ck.ctx, ck.cancel = context.WithCancel(context.Background())
	ck.starting, ck.abortStart = context.WithCancel(ck.ctx)
	ck.inCluster, ck.leave = context.WithCancel(ck.ctx)
	ck.log = opts.Logger.With("node", opts.NodeID)
	ck.metrics = &metrics{ck: ck, seen: newMapCounters(ck.joined)}
	ck.state = &fsm{published: ck.published, failed: ck.fail}
	ck.watch = newWatchers(ck.state.Map)
	ck.book, ck.addresses = &addressBook{state: ck.state}, newAddressFile(opts.DataDir, ck.log)
	ck.http = &http.Client{Transport: &http.Transport{DialContext: opts.Network.DialContext, DisableKeepAlives: true}}
	ck.proposer = &proposer{use: &ck.raftUse}
	ck.hooks = newHookRunner(opts.NodeID, ck.storeID, ck.joined, ck.log)
	if !opts.ManagedReplication && !opts.ExplicitAcknowledge {
		ck.hooks.acknowledge = ck.copied
	}
	ck.events = &eventFeeds{joined: ck.joined, log: ck.log}
	ck.handover = &handover{nodeID: opts.NodeID, transfer: ck.Transfer, log: ck.log}
	ck.session = &session{
		self: func() Node { return *ck.self.Load() }, dir: dir, state: ck.state, clock: ck.clock, log: ck.log,
		propose: ck.proposer.propose, renew: ck.renewAnywhere, applied: ck.appliedIndex,
		awaitMap: ck.awaitMap, changed: ck.ready.notify, dropCopies: !opts.ManagedReplication,
	}
	ck.controller = &controller{
		state: ck.state, book: ck.book, proposer: ck.proposer, clock: ck.clock, log: ck.log, watch: ck.watch,
		serverID: raft.ServerID(ck.serverID()), managed: opts.ManagedReplication,
		reReplicationDelay: opts.ReReplicationDelay, patience: defaultPatience,
		founding: dir.founding,
	}
	ck.proposer.objection = ck.controller.objection
	ck.setAddresses(opts.RaftAddr, opts.HTTPAddr)
	ck.founder = newFounder(ck.serverID(), opts.Bootstrap && !ck.returning, len(ck.joinAddrs()) == 0, ck.log)
	ck.api = newAPI(ck)
	return ck
}

// setAddresses records what others are told, from where this node listens.
func (ck *ClusterKit) setAddresses(raftAddr, httpAddr string) {
	_, raftPort, _ := net.SplitHostPort(raftAddr)
	_, httpPort, _ := net.SplitHostPort(httpAddr)
	ck.self.Store(&Node{
		ID:       ck.opts.NodeID,
		Name:     ck.opts.NodeName,
		IP:       net.JoinHostPort(ck.opts.advertiseHTTP, httpPort),
		RaftAddr: net.JoinHostPort(ck.opts.advertiseRaft, raftPort),
		Store:    ck.storeID,
		RaftID:   ck.serverID(),
		Zone:     ck.opts.Zone,
		Weight:   max(1, ck.opts.Weight),
		Services: ck.opts.Services,
	})
}

// Start listens, starts the node and returns when its own services run. On the
// node that bootstraps a cluster it also waits for the first assignment, and for
// the lease with which [ClusterKit.IsPrimary] is true of it. A node that joins, or cannot tell yet whether there is a cluster to join, goes
// on trying in the background: see [ClusterKit.Ready] and [ClusterKit.Done].
// After an error the node is stopped.
func (ck *ClusterKit) Start() error {
	founded, err := ck.start()
	if err == nil && founded {
		if err = ck.awaitRole(); err != nil {
			return errors.Join(err, ck.Stop())
		}
	}
	return err
}

func (ck *ClusterKit) start() (founded bool, err error) {
	ck.life <- struct{}{}
	defer func() { <-ck.life }()
	switch {
	case ck.stopping.Load():
		return false, ErrStopped
	case ck.started:
		return false, errors.New("clusterkit is started already")
	}
	ck.started = true
	ck.hooks.seal()
	ck.events.start(ck.ctx)
	if founded, err = ck.run(); err != nil {
		return false, errors.Join(err, ck.tearDown(context.Background()))
	}
	return founded, nil
}

// run starts the parts in the order in which they need one another.
func (ck *ClusterKit) run() (founded bool, err error) {
	if ck.net, err = listen(ck); err != nil {
		return false, err
	}
	raftLog := newRaftLogger(ck.log, slog.LevelWarn)
	if ck.store, err = openRaftStore(ck.dir.raftDir(), raftLog); err != nil {
		return false, err
	}
	empty, err := ck.store.empty()
	if err != nil {
		return false, err
	}
	// Raft blocks on this channel; the buffer only eases its shutdown.
	notify := make(chan bool, 8)
	id := ck.serverID()
	ck.book.self, ck.book.remembered = ck.net.peerAddr(), ck.addresses.load()
	r, err := raft.NewRaft(raftConfig(id, notify, raftLog), ck.state, ck.store.logs, ck.store.stable, ck.store.snapshots, ck.net.transport(ck.book, ck.store.writes, newRaftLogger(ck.log, slog.LevelDebug)))
	if err != nil {
		return false, dataDirError("Raft cannot start: %w: restore the directory, or start with an empty one", err)
	}
	ck.proposer.raft, ck.proposer.client = r, ck.net.client
	ck.controller.raft = r
	ck.book.raft.Store(r)
	if err := ck.dir.update(func(id *identity) { id.Starts++ }); err != nil {
		return false, err
	}
	// Others that decide whether to found a cluster ask this node meanwhile.
	ck.net.serve(ck)
	if empty {
		if founded, err = ck.foundOrJoin(); err != nil {
			return false, err
		}
	}
	ck.raftUse.run(func() { ck.controller.run(ck.inCluster, notify) })
	ck.wg.Go(func() { ck.resign(r) })
	ck.wg.Go(func() { ck.hooks.cursor.run(ck.ctx) })
	ck.wg.Go(ck.announce)
	maps := ck.watch.watch(ck.ctx)
	ck.wg.Go(func() { ck.addresses.follow(maps) })
	ck.session.start(ck.inCluster, ck.fail)
	if !ck.opts.ManagedReplication {
		changes := ck.watch.watch(ck.ctx)
		ck.wg.Go(func() { ck.handover.run(ck.ctx, changes) })
	}
	// Who was let in and did not register in time was removed again.
	if id := ck.dir.identity(); !id.Founder && (empty || id.Incarnation == 0) {
		ck.wg.Go(ck.join)
	}
	return founded, nil
}

// awaitRole waits for the first assignment of every partition, and for the lease
// without which this node may not act on it.
func (ck *ClusterKit) awaitRole() error {
	ctx, cancel := context.WithTimeout(ck.starting, foundTimeout)
	defer cancel()
	for m := range ck.Watch(ctx) {
		if !m.Partitions[len(m.Partitions)-1].assigned() {
			continue
		}
		err := ck.Ready(ctx)
		if err == nil || ck.Err() != nil {
			return err
		}
		break
	}
	if ck.stopping.Load() {
		return ErrStopped
	}
	return fmt.Errorf("bootstrap: the first assignment was not made within %s", foundTimeout)
}

// Ready waits until this node has joined, knows the map and holds its lease.
// It returns the context's error, or Err if the node will never be ready.
func (ck *ClusterKit) Ready(ctx context.Context) error {
	for {
		changed := ck.ready.wait()
		if ck.HoldsLease() {
			return nil
		}
		select {
		case <-ck.done:
			return ck.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
