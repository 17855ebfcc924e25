package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

const (
	// slotCount is how many slots every Redis cluster has.
	slotCount = 16384
	// redirections is how often an operation follows a MOVED.
	redirections = 5
	// slotsTimeout bounds the question who serves which slot.
	slotsTimeout = time.Second
	// slotsPause is the least time between two of these questions.
	slotsPause = 100 * time.Millisecond
)

// cluster is a Redis cluster. It keeps the table of slots by itself, because
// go-redis's own client for clusters cannot follow redirections without also
// repeating commands whose connection broke.
type cluster struct {
	options Options
	ifEqual bool

	mu    sync.Mutex
	nodes map[string]*server
	// slots has the address of each slot's primary, "" if it is not known.
	slots []string
	turn  int

	// stale asks for a new table.
	stale   chan struct{}
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

func newCluster(ctx context.Context, o Options) (*cluster, error) {
	c := &cluster{
		options: o,
		nodes:   map[string]*server{},
		slots:   make([]string, slotCount),
		stale:   make(chan struct{}, 1),
	}
	for _, addr := range o.Endpoints {
		c.nodes[addr] = dialServer(addr, o)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.stopped.Go(func() { c.keepSlots(background) })
	err := c.loadSlots(ctx)
	if err == nil {
		c.ifEqual, err = hasIfEqual(ctx, c.command)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnreachable, err), c.Close())
	}
	return c, nil
}

func (c *cluster) Close() error {
	c.stop()
	c.stopped.Wait()
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// keepSlots loads the table anew when it is stale.
func (c *cluster) keepSlots(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.stale:
		}
		if err := c.loadSlots(ctx); err != nil && ctx.Err() == nil {
			c.suspect()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(slotsPause):
		}
	}
}

// suspect asks for a new table.
func (c *cluster) suspect() {
	select {
	case c.stale <- struct{}{}:
	default:
	}
}

// loadSlots asks one node after the other for the table.
func (c *cluster) loadSlots(ctx context.Context) error {
	c.mu.Lock()
	nodes := maps.Clone(c.nodes)
	c.mu.Unlock()
	var errs []error
	for addr, n := range nodes {
		ctx, cancel := context.WithTimeout(ctx, slotsTimeout)
		ranges, err := n.redis.ClusterSlots(ctx).Result()
		cancel()
		if err == nil && len(ranges) == 0 {
			err = errors.New("it knows of no slots")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		c.setSlots(addr, ranges)
		return nil
	}
	return fmt.Errorf("cluster slots: %w", errors.Join(errs...))
}

func (c *cluster) setSlots(from string, ranges []redis.ClusterSlot) {
	slots := make([]string, slotCount)
	for _, r := range ranges {
		if len(r.Nodes) == 0 {
			continue
		}
		for slot := max(0, r.Start); slot <= r.End && slot < len(slots); slot++ {
			slots[slot] = withHost(r.Nodes[0].Addr, from)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots = slots
}

// withHost completes an address without a host, which is that of the node which
// gave it.
func withHost(addr, from string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "" {
		return addr
	}
	host, _, _ = net.SplitHostPort(from)
	return net.JoinHostPort(host, port)
}

// serving returns the node that is taken to serve a slot, or if none is, one
// after the other.
func (c *cluster) serving(slot int) *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := c.slots[slot]
	if addr == "" {
		known := slices.Sorted(maps.Keys(c.nodes))
		c.turn++
		addr = known[c.turn%len(known)]
	}
	return c.at(addr)
}

// at returns the node at an address. Call it with mu held.
func (c *cluster) at(addr string) *server {
	n, ok := c.nodes[addr]
	if !ok {
		n = dialServer(addr, c.options)
		c.nodes[addr] = n
	}
	return n
}

// Supports implements [Target]: a cluster has what each of its servers has.
func (c *cluster) Supports(k Kind) bool { return (&server{ifEqual: c.ifEqual}).Supports(k) }

func (c *cluster) Do(ctx context.Context, op Op) (Result, error) {
	switch {
	case !c.Supports(op.Kind):
		return Result{}, unsupported(op.Kind)
	case op.Kind == MGet:
		return c.mget(ctx, op.Ops)
	case op.Kind == Batch && len(op.Ops) == 0:
		return Result{}, nil
	}
	key := op.Key
	if op.Kind == Batch {
		key = op.Ops[0].Key
	}
	var r Result
	err := c.follow(ctx, key, func(ctx context.Context, n *server) (err error) {
		r, err = n.do(ctx, op)
		return err
	})
	return r, classify(op, err)
}

func (c *cluster) command(ctx context.Context, key string, args ...any) (answer any, err error) {
	err = c.follow(ctx, key, func(ctx context.Context, n *server) (err error) {
		answer, err = n.command(ctx, key, args...)
		return err
	})
	return answer, err
}

// follow calls do with the node that serves a key: again only for one that has
// answered MOVED.
func (c *cluster) follow(ctx context.Context, key string, do func(context.Context, *server) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	n := c.serving(clusterkit.Slot(key))
	for i := 0; ; i++ {
		err := do(ctx, n)
		if ignoreNil(err) == nil {
			return err
		}
		addr, moved := movedTo(err)
		if !moved || i == redirections {
			c.suspect()
			return err
		}
		c.mu.Lock()
		c.slots[clusterkit.Slot(key)] = addr
		n = c.at(addr)
		c.mu.Unlock()
	}
}

// movedTo reads "MOVED slot address".
func movedTo(err error) (addr string, ok bool) {
	reply := redis.Error(nil)
	if !errors.As(err, &reply) {
		return "", false
	}
	words := strings.Fields(reply.Error())
	if len(words) != 3 || words[0] != "MOVED" || strings.HasPrefix(words[2], ":") {
		return "", false
	}
	return words[2], true
}

// mget asks for the keys of each slot at once.
func (c *cluster) mget(ctx context.Context, ops []Op) (Result, error) {
	bySlot := map[int][]int{}
	for i, op := range ops {
		slot := clusterkit.Slot(op.Key)
		bySlot[slot] = append(bySlot[slot], i)
	}
	r := Result{Results: make([]Result, len(ops))}
	var (
		mu      sync.Mutex
		errs    []error
		running sync.WaitGroup
	)
	for _, places := range bySlot {
		running.Go(func() {
			part := Op{Kind: MGet}
			for _, i := range places {
				part.Ops = append(part.Ops, ops[i])
			}
			var got Result
			err := c.follow(ctx, part.Ops[0].Key, func(ctx context.Context, n *server) (err error) {
				got, err = n.do(ctx, part)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			for at, i := range places {
				r.Results[i] = got.Results[at]
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return Result{}, failed(err)
	}
	return r, nil
}
