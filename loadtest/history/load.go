package history

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Load operates on a store and has everything recorded.
type Load struct {
	cfg    Config
	target target.Target
	record *Recorder
	units  []*units // of each workload
}

// New returns a load that has not begun. It returns an error only for a
// configuration that cannot be used.
func New(cfg Config, t target.Target, r *Recorder) (*Load, error) {
	if err := cfg.Validate(t); err != nil {
		return nil, err
	}
	l := &Load{cfg: cfg, target: t, record: r}
	for _, name := range cfg.Workloads {
		w, _ := workloadOf(name)
		l.units = append(l.units, newUnits(w, cfg))
	}
	return l, nil
}

// Run operates until ctx ends, then waits for what is under way.
func (l *Load) Run(ctx context.Context) {
	pace := newPace(l.cfg)
	var clients sync.WaitGroup
	for i := range l.cfg.Clients {
		c := &client{
			load: l, units: l.units[i%len(l.units)],
			rng: rand.New(rand.NewPCG(l.cfg.Seed, uint64(i))),
		}
		c.renew()
		clients.Go(func() {
			for pace.wait(ctx, c.rng) {
				c.operate(ctx)
			}
		})
	}
	clients.Wait()
}

// ReadBack reads everything that may have been written, each until there is an
// answer or ctx ends, and returns how much could not be read. It is to be called
// when Run has returned and the store is whole again.
func (l *Load) ReadBack(ctx context.Context) (unread int) {
	todo := make(chan target.Op)
	var (
		readers sync.WaitGroup
		mu      sync.Mutex
	)
	for range l.cfg.Clients {
		readers.Go(func() {
			id := l.record.NewClient()
			for op := range todo {
				if !l.readUnit(ctx, id, op) {
					mu.Lock()
					unread++
					mu.Unlock()
				}
			}
		})
	}
	for _, us := range l.units {
		for _, u := range us.used() {
			todo <- us.workload.last(u)
		}
	}
	close(todo)
	readers.Wait()
	return unread
}

const readAgainAfter = 20 * time.Millisecond

func (l *Load) readUnit(ctx context.Context, client int, op target.Op) bool {
	for ctx.Err() == nil {
		o := Operation{Client: client, Op: op, Final: true}
		if l.do(ctx, &o); o.Outcome == target.OK {
			l.record.Add(&o)
			return true
		}
		pause(ctx, readAgainAfter)
	}
	return false
}

// do executes an operation and notes what became of it.
func (l *Load) do(ctx context.Context, o *Operation) {
	var err error
	o.Call = l.record.Now()
	o.Result, err = l.target.Do(ctx, o.Op)
	o.Return = l.record.Now()
	if o.Outcome = target.OutcomeOf(err); o.Outcome == target.Unknown {
		o.Return = Forever
	}
	if err != nil {
		o.Err = err.Error()
	}
}

// client is one of those who operate, under one number after the other.
type client struct {
	load   *Load
	units  *units
	rng    *rand.Rand
	id     int
	values int
	// seen are the last values of some keys.
	seen map[string]seen
}

type seen struct {
	value   []byte
	version string
}

// renew gives the client another number: nobody knows what the old one has done.
func (c *client) renew() {
	c.id, c.values, c.seen = c.load.record.NewClient(), 0, map[string]seen{}
}

const remembered = 64

func (c *client) operate(ctx context.Context) {
	u := c.units.take(c.rng)
	o := c.units.workload.next(c, u)
	o.Client = c.id
	c.load.do(context.WithoutCancel(ctx), &o)
	c.units.give(u, o.Outcome)
	c.load.record.Add(&o)
	if o.Outcome == target.Unknown {
		c.renew()
		return
	}
	c.learn(&o)
}

// learn keeps what a compare-and-set may compare with, if it was told.
func (c *client) learn(o *Operation) {
	if o.Outcome != target.OK || o.Op.Kind == target.Batch {
		return
	}
	if len(c.seen) == remembered {
		clear(c.seen)
	}
	value := o.Result.Value
	if !o.Op.Kind.IsRead() {
		value = o.Op.Value
	}
	if o.Result.Version == "" {
		delete(c.seen, o.Op.Key)
	} else {
		c.seen[o.Op.Key] = seen{value, o.Result.Version}
	}
}
