package clusterkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// founder decides whether a node that was told to bootstrap founds the
// cluster. It does only where everybody it should ask first was certainly not
// there, or said for certain to know no cluster: whoever is silent may know one.
// Of several such nodes that know one another, the one whose ID sorts first
// founds: the others yield to it as soon as they have heard of it, as the
// asking or as the asked one. They do not take that back. Its methods may be
// called concurrently.
type founder struct {
	// id is this node's server ID.
	id  string
	log *slog.Logger

	mu    sync.Mutex
	state foundingState
}

type foundingState int

const (
	// joins: this node was not told to bootstrap, or has yielded.
	joins foundingState = iota
	mayFound
	// founds is final: there is a cluster now, or will be.
	founds
)

// newFounder: bootstrap tells the node to found a cluster if it finds none, and
// alone that it has nobody to ask.
func newFounder(id string, bootstrap, alone bool, log *slog.Logger) *founder {
	f := &founder{id: id, log: log}
	switch {
	case bootstrap && alone:
		f.state = founds
	case bootstrap:
		f.state = mayFound
	}
	return f
}

// candidate reports whether this node may still found a cluster.
func (f *founder) candidate() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == mayFound
}

// asked answers a join request while this node is in no cluster.
func (f *founder) asked(req joinRequest) error {
	if asker := serverID(req.NodeID, req.Store); req.Bootstrap && sortsBefore(asker, f.id) {
		f.yield(asker + " founds it")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.state {
	case founds:
		return fmt.Errorf("%w: this node is founding the cluster", ErrNoLeader)
	case mayFound:
		return noClusterError{founder: f.id}
	default:
		return noClusterError{}
	}
}

// decide reports whether to found after an attempt to join that nobody has
// granted.
func (f *founder) decide(attempt notLetIn) bool {
	definite := true
	for i, reason := range attempt.reasons {
		answer, answered := errors.AsType[noClusterError](reason)
		switch {
		case answered && sortsBefore(answer.founder, f.id):
			f.yield(answer.founder + " founds it")
		case errors.Is(reason, ErrNoLeader):
			f.yield(attempt.addrs[i] + " knows one")
		}
		definite = definite && (answered || absent(reason))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == mayFound && definite {
		f.state = founds
	}
	return f.state == founds
}

// yield leaves the founding to others, unless it was decided already.
func (f *founder) yield(reason string) {
	f.mu.Lock()
	yielded := f.state == mayFound
	if yielded {
		f.state = joins
	}
	f.mu.Unlock()
	if yielded {
		f.log.Info("not founding a cluster", "reason", reason)
	}
}

// sortsBefore orders server IDs by node, and those of one node by store. None
// is before "", which names no server.
func sortsBefore(a, b string) bool {
	nodeA, storeA, _ := strings.Cut(a, "/")
	nodeB, storeB, _ := strings.Cut(b, "/")
	return a != "" && cmp.Or(cmp.Compare(nodeA, nodeB), cmp.Compare(storeA, storeB)) < 0
}

// absent reports whether the error of a request says that certainly nobody
// listens at its address.
func absent(err error) bool {
	dns, unresolved := errors.AsType[*net.DNSError](err)
	return errors.Is(err, syscall.ECONNREFUSED) || unresolved && dns.IsNotFound
}

// noClusterError is the definite answer of a node that knows no cluster.
type noClusterError struct {
	// founder is the server ID of that node if it may found one itself.
	founder string
}

func (noClusterError) Error() string { return "the node is in no cluster yet" }

func (noClusterError) Unwrap() error { return ErrNotReady }

// enter asks to be let in once, and founds the cluster where that falls to
// this node.
func (ck *ClusterKit) enter(ctx context.Context) (founded bool, err error) {
	resp, err := ck.joiner(ctx).attempt(ctx)
	if ck.stopping.Load() {
		return false, ErrStopped
	}
	if err == nil {
		ck.founder.yield("let into one")
		return false, ck.adopt(resp)
	}
	attempt, ok := errors.AsType[notLetIn](err)
	if !ok || !ck.founder.decide(attempt) {
		return false, err
	}
	err = ck.found()
	return err == nil, err
}

// foundOrJoin begins the life of a node without a Raft log. One that has
// neither founded nor joined when it returns goes on in the background.
func (ck *ClusterKit) foundOrJoin() (founded bool, err error) {
	id := ck.dir.identity()
	switch {
	case id.Incarnation > 0:
		return false, dataDirError("%q has lost its Raft log, and with it this node's votes: restore it, or start with an empty directory", ck.opts.DataDir)
	case id.Founder:
		err = ck.found()
		return err == nil, err
	case !ck.opts.Bootstrap || id.ClusterUUID != "":
		return false, nil
	}
	founded, err = ck.enter(ck.starting)
	if _, undecided := errors.AsType[notLetIn](err); undecided || errors.Is(err, errNodeIDInUse) {
		ck.log.Info("neither founded nor joined yet, trying again", "error", err)
		return false, nil
	}
	return founded, err
}

// found begins the cluster, or goes on where a crash has interrupted that. It
// is on disk before Raft has its first configuration, which comes before the
// first command.
func (ck *ClusterKit) found() error {
	if !ck.dir.identity().Founder {
		config, err := ck.opts.wanted.withDefaults()
		if err != nil {
			return err
		}
		if err := ck.dir.update(func(id *identity) {
			id.Founder, id.ClusterUUID, id.Config = true, uuid.NewString(), &config
		}); err != nil {
			return err
		}
	}
	self := raft.Server{ID: raft.ServerID(ck.serverID()), Address: raft.ServerAddress(ck.book.self)}
	if err := ck.book.raft.Load().BootstrapCluster(raft.Configuration{Servers: []raft.Server{self}}).Error(); err != nil {
		return dataDirError("%q: Raft cannot be bootstrapped: %w", ck.opts.DataDir, err)
	}
	id := ck.dir.identity()
	ck.log.Info("cluster founded", "name", id.Config.ClusterName, "cluster", id.ClusterUUID)
	return nil
}

// founding returns the first command of the cluster that this directory's node
// has founded, zero if it has founded none.
func (d *dataDir) founding() bootstrapCommand {
	id := d.identity()
	if !id.Founder || id.Config == nil {
		return bootstrapCommand{}
	}
	return bootstrapCommand{ClusterUUID: id.ClusterUUID, Config: *id.Config}
}
