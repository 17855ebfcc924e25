package history

import (
	"fmt"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// workload is a kind of load. Whatever it writes is unique in its history,
// except for the numbers of counters, so that what is read says who wrote it.
type workload struct {
	name string
	// kinds are all operations that it uses.
	kinds []target.Kind
	// next returns the next operation of a client on a unit.
	next func(c *client, u *unit) Operation
	// last returns the operation that reads all of a unit.
	last func(u *unit) target.Op
}

var workloads = []workload{
	{"register", []target.Kind{target.Get, target.Set, target.Delete}, register, getAll},
	{"cas", []target.Kind{target.Get, target.Set, target.CompareAndSet}, compareAndSet, getAll},
	{"create", []target.Kind{target.Get, target.Create, target.Delete}, create, getAll},
	{"counter", []target.Kind{target.Get, target.Increment}, counter, getAll},
	{"list", []target.Kind{target.Get, target.Append}, list, getAll},
	{"batch", []target.Kind{target.Get, target.Set, target.Delete, target.Batch}, batch, getBatch},
	{"scan", []target.Kind{target.Get, target.Set, target.Delete, target.Batch, target.ScanPrefix}, scan, scanAll},
}

func getAll(u *unit) target.Op { return target.Op{Kind: target.Get, Key: u.name} }

func register(c *client, u *unit) Operation {
	op := getAll(u)
	switch draw := c.rng.IntN(10); {
	case draw == 0:
		op.Kind = target.Delete
	case draw < 5:
		op.Kind, op.Value = target.Set, c.unique()
	}
	return Operation{Op: op}
}

// compareAndSet sets what this client has seen last, and so competes with all
// who have seen the same.
func compareAndSet(c *client, u *unit) Operation {
	op := getAll(u)
	seen, ok := c.seen[u.name]
	switch draw := c.rng.IntN(10); {
	case ok && draw < 6:
		op.Kind, op.Value, op.Version = target.CompareAndSet, c.unique(), seen.version
		return Operation{Op: op, Expect: seen.value}
	case draw == 9 || !ok && draw > 6:
		op.Kind, op.Value = target.Set, c.unique()
	}
	return Operation{Op: op}
}

func create(c *client, u *unit) Operation {
	op := getAll(u)
	switch draw := c.rng.IntN(10); {
	case draw < 2:
		op.Kind = target.Delete
	case draw < 6:
		op.Kind, op.Value = target.Create, c.unique()
	}
	return Operation{Op: op}
}

func counter(c *client, u *unit) Operation {
	op := getAll(u)
	if c.rng.IntN(10) < 6 {
		op.Kind, op.Delta = target.Increment, 1
	}
	return Operation{Op: op}
}

func list(c *client, u *unit) Operation {
	op := getAll(u)
	if c.rng.IntN(10) < 5 {
		op.Kind, op.Value = target.Append, append(c.unique(), ',')
	}
	return Operation{Op: op}
}

// members are the keys of a batch.
func members(u *unit) []string {
	return []string{"{" + u.name + "}a", "{" + u.name + "}b", "{" + u.name + "}c"}
}

func getBatch(u *unit) target.Op { return ofAll(u, target.Op{Kind: target.Get}) }

// ofAll returns the batch that does the same to all members.
func ofAll(u *unit, op target.Op) target.Op {
	b := target.Op{Kind: target.Batch}
	for _, key := range members(u) {
		op.Key = key
		b.Ops = append(b.Ops, op)
	}
	return b
}

func batch(c *client, u *unit) Operation {
	switch draw := c.rng.IntN(20); {
	case draw < 9:
		return Operation{Op: ofAll(u, target.Op{Kind: target.Set, Value: c.unique()})}
	case draw < 10:
		return Operation{Op: ofAll(u, target.Op{Kind: target.Delete})}
	case draw < 13:
		keys := members(u)
		return Operation{Op: target.Op{Kind: target.Get, Key: keys[c.rng.IntN(len(keys))]}}
	default:
		return Operation{Op: getBatch(u)}
	}
}

// scanAll reads all members by the prefix that they share.
func scanAll(u *unit) target.Op {
	op := getBatch(u)
	op.Kind, op.Key = target.ScanPrefix, "{"+u.name+"}"
	return op
}

// scan has what is written as a whole scanned.
func scan(c *client, u *unit) Operation {
	if c.rng.IntN(2) == 0 {
		return Operation{Op: scanAll(u)}
	}
	return batch(c, u)
}

// unique returns a value that no other operation writes.
func (c *client) unique() []byte {
	c.values++
	return fmt.Appendf(nil, "%d.%d", c.id, c.values)
}
