package target

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// connectionsOfClient is how many connections to a node a Go client keeps when
// they are idle; with more it would open new ones all the time.
const connectionsOfClient = 64

// goClient is the store as its Go client sees it.
type goClient struct {
	// clients begin with different nodes, so that the load meets all of them.
	clients []*client.Client
	next    atomic.Uint64
}

func newClient(o Options) (*goClient, error) {
	t := &goClient{}
	n := len(o.Endpoints)
	count := (max(n, o.Connections/connectionsOfClient+1) + n - 1) / n * n
	for i := range count {
		c, err := client.New(client.Config{
			Endpoints: slices.Concat(o.Endpoints[i%n:], o.Endpoints[:i%n]),
			Timeout:   o.Timeout,
		})
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.clients = append(t.clients, c)
	}
	return t, nil
}

func (t *goClient) Supports(k Kind) bool { return k != Scan }

func (t *goClient) Close() error {
	for _, c := range t.clients {
		c.Close()
	}
	return nil
}

func (t *goClient) Do(ctx context.Context, op Op) (Result, error) {
	r, err := t.do(ctx, t.clients[t.next.Add(1)%uint64(len(t.clients))], op)
	if err != nil && (op.Kind.IsRead() || client.IsCertain(err)) {
		err = failed(err)
	}
	return r, err
}

func (t *goClient) do(ctx context.Context, c *client.Client, op Op) (Result, error) {
	switch op.Kind {
	case Get:
		v, err := c.Get(ctx, op.Key)
		if errors.Is(err, api.ErrNotFound) {
			return Result{}, nil
		}
		return Result{Found: err == nil, Value: v.Data, Version: v.Version}, err
	case Set:
		version, err := c.Set(ctx, op.Key, op.Value)
		return Result{Version: version}, err
	case Delete:
		return Result{}, c.Delete(ctx, op.Key)
	case MGet:
		keys := make([]string, len(op.Ops))
		for i, o := range op.Ops {
			keys[i] = o.Key
		}
		results, err := c.MGet(ctx, keys...)
		return Result{Results: resultsOf(op.Ops, results)}, err
	case Batch:
		commands, err := commandsOf(op.Ops)
		if err != nil {
			return Result{}, err
		}
		results, err := c.Batch(ctx, commands...)
		return Result{Results: resultsOf(op.Ops, results)}, err
	case ScanPrefix:
		return scanClient(ctx, c, op)
	case Create, CompareAndSet, Increment, Append:
		r, err := c.Do(ctx, commandOf(op))
		if errors.Is(err, api.ErrConditionFailed) {
			return Result{}, nil
		}
		return resultOf(op, r), err
	default:
		return Result{}, unsupported(op.Kind)
	}
}

// commandsOf returns the operations of a batch as commands.
func commandsOf(ops []Op) ([]api.Command, error) {
	commands := make([]api.Command, len(ops))
	for i, op := range ops {
		if !op.inBatch() {
			return nil, failedf("%w in a batch: %s", ErrUnsupported, op.Kind)
		}
		commands[i] = commandOf(op)
	}
	return commands, nil
}

func commandOf(op Op) api.Command {
	c := api.Command{Key: []byte(op.Key)}
	switch op.Kind {
	case Get:
		c.Op = api.OpGet
	case Delete:
		c.Op = api.OpDelete
	case Increment:
		c.Op, c.Delta = api.OpIncrement, op.Delta
	case Append:
		c.Op, c.Value = api.OpAppend, op.Value
	case Create:
		c.Op, c.Value, c.If = api.OpSet, op.Value, api.IfAbsent
	case CompareAndSet:
		c.Op, c.Value, c.If, c.Version = api.OpSet, op.Value, api.IfVersion, op.Version
	default:
		c.Op, c.Value = api.OpSet, op.Value
	}
	return c
}

func resultsOf(ops []Op, results []api.Result) []Result {
	all := make([]Result, len(results))
	for i, r := range results {
		all[i] = resultOf(ops[i], r)
	}
	return all
}

// resultOf returns the result of an operation that was executed.
func resultOf(op Op, r api.Result) Result {
	switch op.Kind {
	case Get:
		return Result{Found: r.Found, Value: r.Value, Version: r.Version}
	case Increment:
		return Result{Number: r.Number, Version: r.Version}
	case Append:
		return Result{Number: int64(len(r.Value)), Version: r.Version}
	default:
		return Result{Met: op.Kind == Create || op.Kind == CompareAndSet, Version: r.Version}
	}
}
