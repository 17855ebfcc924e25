package kvstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	// routePatience is how long a request may wait for a primary that serves
	// before it is refused; nothing has been executed then.
	routePatience = 3 * time.Second
	// A request looks again after a while, when nothing has told it that
	// something changed: soon after a change, since the node that leads now may
	// not have seen that yet, and then ever more rarely.
	minRouteAgain = 2 * time.Millisecond
	maxRouteAgain = 50 * time.Millisecond
	// commitPatience is how long a write that has been appended may wait for
	// the in-sync replicas before its outcome is reported as unknown.
	commitPatience = 10 * time.Second
)

// Request says how a request reached this node.
type Request struct {
	Key []byte
	// NoForward asks for an error rather than for the help of another node.
	NoForward bool
}

// Router takes any key on any node: it executes a request here or forwards it
// to the primary, and waits through a failover within bounds. All methods may
// be called concurrently; their errors are those of package api.
type Router struct {
	node    *Node
	forward *forwarder
}

// NewRouter returns the router of a node.
func NewRouter(n *Node) *Router { return &Router{node: n, forward: newForwarder()} }

// Close lets go of idle connections to other nodes. Requests must have ended.
func (rt *Router) Close() { rt.forward.close() }

// Get returns the value of a key, linearizably.
func (rt *Router) Get(ctx context.Context, req Request) (v Value, err error) {
	defer func(start time.Time) { rt.node.metrics.observe("get", start, err) }(time.Now())
	ctx, cancel := context.WithTimeout(ctx, routePatience)
	defer cancel()
	err = rt.route(ctx, req, route{
		here: func(r *replica) error {
			v, err = r.read(ctx, req.Key)
			return err
		},
		there: func(_ *clusterkit.Partition, addr string) error {
			v, err = rt.forward.get(ctx, addr, req.Key)
			return err
		},
	})
	return v, err
}

// Set gives a key a value.
func (rt *Router) Set(ctx context.Context, req Request, value []byte) (partition.Position, error) {
	results, err := rt.Execute(ctx, req, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: req.Key, Value: value}}})
	if err != nil {
		return partition.Position{}, err
	}
	return parseVersion(results[0].Version), nil
}

// Delete removes a key; that it is absent is no error.
func (rt *Router) Delete(ctx context.Context, req Request) error {
	_, err := rt.Execute(ctx, req, api.Batch{Commands: []api.Command{{Op: api.OpDelete, Key: req.Key}}})
	return err
}

// Execute executes a batch whose keys are all of one partition, as a whole or
// not at all. The key of the request does not matter.
func (rt *Router) Execute(ctx context.Context, req Request, b api.Batch) (results []api.Result, err error) {
	defer func(start time.Time) { rt.node.metrics.observe(operation(b), start, err) }(time.Now())
	if err := command.Check(b); err != nil {
		return nil, err
	}
	req.Key = b.Commands[0].Key
	if err := rt.samePartition(b.Commands); err != nil {
		return nil, err
	}
	err = rt.route(ctx, req, route{
		here: func(r *replica) error {
			results, err = rt.executeHere(ctx, r, b)
			return err
		},
		there: func(p *clusterkit.Partition, addr string) error {
			ctx, done := rt.node.underway.begin(ctx, p.Index, p.Epoch)
			defer done()
			if rt.node.cluster.Map().Partitions[p.Index].Epoch != p.Epoch {
				return &retryable{errNotServing} // deposed before the request could be known
			}
			results, err = rt.forward.execute(ctx, addr, b)
			return err
		},
	})
	return results, err
}

func (rt *Router) executeHere(ctx context.Context, r *replica, b api.Batch) ([]api.Result, error) {
	if err := rt.admit(b); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	return r.execute(ctx, b)
}

// admit returns an error if this node takes no writes now and the batch may be
// one.
func (rt *Router) admit(b api.Batch) error {
	switch {
	case !writes(b):
		return nil
	case rt.node.diskFull.Load():
		return api.Errorf(api.CodeUnavailable, "the primary's disk is at its reserve; free some space")
	case rt.node.applier.overloaded():
		return errNotServing
	default:
		return nil
	}
}

// samePartition makes sure that one primary can execute the commands.
func (rt *Router) samePartition(commands []api.Command) error {
	first := -1
	for i := range commands {
		part, err := rt.partition(commands[i].Key)
		if err != nil {
			return err
		}
		if first < 0 {
			first = part
		} else if part != first {
			return api.Errorf(api.CodeBadRequest, "commands: the keys %q and %q are of different partitions; give all keys of a batch the same {tag}", commands[0].Key, commands[i].Key)
		}
	}
	return nil
}

func (rt *Router) partition(key []byte) (int, error) {
	part, err := rt.node.cluster.PartitionIndex(key)
	if err != nil {
		return 0, api.Errorf(api.CodeUnavailable, "this node has no cluster map yet: it has not joined, or too few nodes are up to agree on one")
	}
	return part, nil
}

func writes(b api.Batch) bool {
	return slices.ContainsFunc(b.Commands, func(c api.Command) bool { return c.Op != api.OpGet })
}

// operation names the batch in the metrics.
func operation(b api.Batch) string {
	if len(b.Commands) != 1 {
		return "batch"
	}
	if o := b.Commands[0].Op; slices.Contains(command.Operations, o) {
		return string(o)
	}
	return "unknown"
}

// route is what can be done with a request: on the primary, or by sending it
// there.
type route struct {
	here  func(*replica) error
	there func(p *clusterkit.Partition, addr string) error
}

// route brings a request to the partition of its key.
func (rt *Router) route(ctx context.Context, req Request, do route) error {
	if err := checkKey(req.Key); err != nil {
		return err
	}
	part, err := rt.partition(req.Key)
	if err != nil {
		return err
	}
	return rt.reach(ctx, part, req.NoForward, do)
}

// reach tries until the request was executed, failed for good, or may have been
// executed.
func (rt *Router) reach(ctx context.Context, part int, noForward bool, do route) error {
	return rt.persist(ctx, func() (string, error) {
		return rt.attempt(rt.node.cluster.Map(), part, noForward, do)
	})
}

// persist repeats an attempt within bounds, as long as its error is
// errNotServing; the attempt then says why.
func (rt *Router) persist(ctx context.Context, attempt func() (why string, err error)) error {
	var patience *time.Timer
	again := minRouteAgain
	for {
		changed := rt.node.changed.next()
		why, err := attempt()
		if !errors.Is(err, errNotServing) {
			return err
		}
		if patience == nil {
			patience = time.NewTimer(routePatience)
			defer patience.Stop()
		}
		select {
		case <-changed:
			again = minRouteAgain
		case <-time.After(again):
			again = min(2*again, maxRouteAgain)
		case <-patience.C:
			return api.Errorf(api.CodeUnavailable, "%s", why)
		case <-ctx.Done():
			return api.Errorf(api.CodeUnavailable, "%s", why)
		}
	}
}

// anotherTry returns why another attempt is due after an error that proves that
// nothing was executed.
func anotherTry(err error, what string) (why string, _ error) {
	if r := (*retryable)(nil); errors.As(err, &r) {
		return fmt.Sprintf("%s: %v", what, r.cause), errNotServing
	}
	return "", err
}

// attempt makes one try. It says why there should be another when the error
// is errNotServing.
func (rt *Router) attempt(m *clusterkit.Map, part int, noForward bool, do route) (why string, err error) {
	p := &m.Partitions[part]
	primary := m.Node(p.Primary)
	switch r := rt.node.replica(uint32(part)); {
	case primary == nil:
		return fmt.Sprintf("%s has no primary", p.ID), errNotServing
	case primary.ID == rt.node.self.Node && r == nil:
		return fmt.Sprintf("%s is being set up on its primary %s", p.ID, primary.ID), errNotServing
	case primary.ID == rt.node.self.Node:
		if err = do.here(r); !errors.Is(err, errNotServing) {
			return "", err
		}
		return fmt.Sprintf("%s: the primary %s takes no requests now: it recovers, hands over or misses a replica; %d copies are in-sync, at least %d are needed", p.ID, primary.ID, len(p.InSync), m.Config.MinInSync), errNotServing
	case noForward:
		return "", api.ErrNotPrimary.With("primary", primary.ID).With("address", primary.IP)
	default:
		return anotherTry(do.there(p, primary.IP), fmt.Sprintf("%s: the primary %s does not take requests", p.ID, primary.ID))
	}
}

func checkKey(key []byte) error {
	switch {
	case len(key) == 0:
		return api.Errorf(api.CodeBadRequest, "key: must not be empty")
	case len(key) > api.MaxKeyBytes:
		return api.Errorf(api.CodeTooLarge, "key: %d bytes, at most %d are allowed", len(key), api.MaxKeyBytes)
	default:
		return nil
	}
}
