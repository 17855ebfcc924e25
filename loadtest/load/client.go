package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// client does one operation after the other. Its fields belong to one goroutine.
type client struct {
	*load
	id     int
	pcg    *rand.PCG
	random *rand.Rand
	// served is the time in which operations were under way.
	served time.Duration
	// wrote is when a write of this client last succeeded.
	wrote time.Time
	gap   time.Duration
}

func newClient(l *load, id int) *client {
	pcg := rand.NewPCG(0, 0)
	return &client{load: l, id: id, pcg: pcg, random: rand.New(pcg), wrote: time.Now()}
}

// do does the i-th operation of the load, which was to be sent at intended.
func (c *client) do(ctx context.Context, i uint64, intended time.Time) target.Outcome {
	c.pcg.Seed(c.Seed, scatter(i))
	operation := c.Mix.choose(c.random.Float64())
	begun := time.Now()
	var err error
	switch operation {
	case Read:
		err = c.read(ctx, c.existing())
	case Update:
		err = c.write(ctx, c.existing())
	case Insert:
		err = c.insert(ctx)
	case ReadScan:
		err = c.scan(ctx)
	default:
		number := c.existing()
		if err = c.read(ctx, number); err == nil {
			err = c.write(ctx, number)
		}
	}
	now := time.Now()
	c.served += now.Sub(begun)
	outcome := c.recorder.record(c.id, operation, now.Sub(intended), err)
	if operation.writes() && err == nil {
		c.gap = max(c.gap, now.Sub(c.wrote))
		c.wrote = now
	}
	return outcome
}

// existing returns the number of a key that has been inserted.
func (c *client) existing() uint64 { return c.chooser.choose(c.random, c.keys.inserted.Load()) }

func (c *client) write(ctx context.Context, number uint64) error {
	return c.load.write(ctx, c.keys.at(number), c.ValueSize.choose(c.random))
}

func (c *client) insert(ctx context.Context) error {
	number := c.keys.add()
	err := c.write(ctx, number)
	if target.OutcomeOf(err) != target.Failed {
		c.keys.inserted.Add(1)
	}
	return err
}

func (c *client) read(ctx context.Context, number uint64) error {
	return c.load.read(ctx, c.keys.at(number), Stale)
}

// scan reads keys whose numbers follow each other.
func (c *client) scan(ctx context.Context) error {
	first, inserted := c.existing(), c.keys.inserted.Load()
	n := min(1+c.random.Uint64N(longestScan), inserted-first)
	op := target.Op{Kind: target.MGet}
	ledgers := make([]*ledger, n)
	began := make([]uint64, n)
	for i := range ledgers {
		ledgers[i] = c.keys.at(first + uint64(i))
		began[i] = ledgers[i].beginRead()
		op.Ops = append(op.Ops, target.Op{Kind: target.Get, Key: ledgers[i].name})
	}
	if c.store.Supports(target.Scan) {
		op = target.Op{Kind: target.Scan, Key: ledgers[0].name, Limit: int(n)}
	}
	r, err := c.store.Do(ctx, op)
	if op.Kind == target.Scan {
		r = arrange(ledgers, r)
	}
	for i, l := range ledgers {
		if err != nil || i >= len(r.Results) {
			l.giveUpRead(began[i])
			continue
		}
		c.recorder.convict(l.endRead(began[i], r.Results[i].Value, r.Results[i].Found, Stale))
	}
	return err
}

// arrange gives each key the value that a scan found for it, as far as it did.
func arrange(ledgers []*ledger, r target.Result) target.Result {
	arranged := target.Result{Results: make([]target.Result, len(ledgers))}
	for _, found := range r.Results {
		name, _, err := decodeValue(found.Value)
		for i, l := range ledgers {
			if err == nil && name == l.name {
				arranged.Results[i] = found
			}
		}
	}
	return arranged
}

// keys are all keys of a load, by their numbers. They are safe for concurrent
// use.
type keys struct {
	run string
	mu  sync.RWMutex
	all []*ledger
	// inserted is how many of them have been written, about the first so many.
	inserted atomic.Uint64
}

func newKeys(run string, n int) *keys {
	k := &keys{run: run}
	for range n {
		k.add()
	}
	return k
}

// add returns the number of a new key.
func (k *keys) add() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	number := uint64(len(k.all))
	k.all = append(k.all, &ledger{name: fmt.Sprintf("loadtest/%s/%012d", k.run, number)})
	return number
}

func (k *keys) at(number uint64) *ledger {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.all[number]
}

func (k *keys) len() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return uint64(len(k.all))
}
