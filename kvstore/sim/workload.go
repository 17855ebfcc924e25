package sim

import (
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// unit is a group of keys that are operated on together, and whose history is
// checked as a whole.
type unit struct {
	name string
	keys []string
	// draw makes the commands of an operation.
	draw func(c *client, u *unit) []step
	// marked: every value that is written, or appended, is in a class of its
	// own, so that who sees it knows which operation has been executed.
	marked bool
	// expires: values may have a time to live.
	expires bool
}

// step is a command of an operation.
type step struct {
	api.Command
	cell int // of the key in its unit
	// expect is the value that had the version of a condition on it.
	expect string
}

// drawUnits draws what clients operate on: a few units, so that each of them
// sees many operations.
func (w *world) drawUnits() []*unit {
	kinds := []*unit{
		{name: "register", keys: []string{"r"}, draw: drawRegister, marked: true},
		{name: "counter", keys: []string{"n"}, draw: drawCounter},
		{name: "list", keys: []string{"l"}, draw: drawList, marked: true},
		{name: "lock", keys: []string{"e"}, draw: drawLock, marked: true, expires: true},
		{name: "accounts", keys: []string{"{a}1", "{a}2"}, draw: drawAccounts},
		{name: "documents", keys: []string{"{d}1", "{d}2"}, draw: drawDocuments, marked: true},
	}
	w.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for i, u := range kinds {
		if u.name == w.opt.Unit {
			kinds[0], kinds[i] = u, kinds[0]
		}
	}
	return kinds[:2]
}

// on returns a step on a key of the unit.
func (u *unit) on(cell int, c api.Command) step {
	c.Key = []byte(u.keys[cell])
	return step{Command: c, cell: cell}
}

func (u *unit) get(cell int) step { return u.on(cell, api.Command{Op: api.OpGet}) }

// scan reads all keys of the unit.
func (u *unit) scan() *operation {
	o := &operation{unit: u, scan: true}
	for cell := range u.keys {
		o.steps = append(o.steps, u.get(cell))
	}
	return o
}

func (u *unit) set(cell int, value string) step {
	return u.on(cell, api.Command{Op: api.OpSet, Value: []byte(value)})
}

// ifSeen puts the condition on a step that the key has not changed since the
// client saw it last; without that the step becomes a read.
func (u *unit) ifSeen(c *client, s step) step {
	seen := c.seen[string(s.Key)]
	if seen.version == "" {
		return u.get(s.cell)
	}
	s.If, s.Version, s.expect = api.IfVersion, seen.version, seen.value
	return s
}

func drawRegister(c *client, u *unit) []step {
	s := u.set(0, c.mark())
	switch draw := c.w.rng.IntN(20); {
	case draw < 8:
		s = u.get(0)
	case draw < 12:
	case draw < 15:
		s = u.ifSeen(c, s)
	case draw < 16:
		s.If = api.IfAbsent
	case draw < 17:
		s.If = api.IfPresent
	case draw < 18:
		s.Report = true
	default:
		s = u.on(0, api.Command{Op: api.OpDelete, Report: draw == 18})
	}
	return []step{s}
}

func drawCounter(c *client, u *unit) []step {
	if c.w.chance(0.4) {
		return []step{u.get(0)}
	}
	return []step{u.on(0, api.Command{Op: api.OpIncrement, Delta: c.delta()})}
}

func drawList(c *client, u *unit) []step {
	switch draw := c.w.rng.IntN(20); {
	case draw < 8:
		return []step{u.get(0)}
	case draw < 19:
		return []step{u.on(0, api.Command{Op: api.OpAppend, Value: []byte(c.mark() + ",")})}
	default:
		return []step{u.on(0, api.Command{Op: api.OpDelete, Report: true})}
	}
}

// drawLock has no conditions on versions: an expire makes another version of the
// same value, and the model knows values.
func drawLock(c *client, u *unit) []step {
	s := u.set(0, c.mark())
	s.TTL = c.w.between(time.Millisecond, pick(c.w, 100*time.Millisecond, time.Second, 4*time.Second)).Milliseconds()
	switch draw := c.w.rng.IntN(20); {
	case draw < 8:
		s = u.get(0)
	case draw < 11:
	case draw < 15:
		s.If = api.IfAbsent
	case draw < 16:
		s.If = api.IfPresent
	case draw < 18:
		s.TTL, s.KeepTTL = 0, true
	case draw < 19:
		s.Op, s.Value = api.OpExpire, nil
		if c.w.chance(0.5) {
			s.TTL = 0
		}
	default:
		s = u.on(0, api.Command{Op: api.OpDelete})
	}
	return []step{s}
}

// drawAccounts moves something from one account to the other.
func drawAccounts(c *client, u *unit) []step {
	switch draw := c.w.rng.IntN(10); {
	case draw < 4:
		return []step{u.get(0), u.get(1)}
	case draw < 5:
		return []step{u.get(c.w.rng.IntN(2))}
	default:
		d, from := c.delta(), c.w.rng.IntN(2)
		return []step{u.on(from, api.Command{Op: api.OpIncrement, Delta: -d}), u.on(1-from, api.Command{Op: api.OpIncrement, Delta: d})}
	}
}

func drawDocuments(c *client, u *unit) []step {
	one, other := u.set(0, c.mark()), u.set(1, c.mark())
	switch draw := c.w.rng.IntN(20); {
	case draw < 8:
		return []step{u.get(0), u.get(1)}
	case draw < 9:
		return []step{u.get(c.w.rng.IntN(2))}
	case draw < 14:
		return []step{one, other}
	case draw < 17:
		return []step{other, u.ifSeen(c, one)} // all, or nothing of the first either
	case draw < 18:
		other.If = api.IfAbsent
		return []step{one, other}
	default:
		return []step{u.on(0, api.Command{Op: api.OpDelete}), u.on(1, api.Command{Op: api.OpDelete})}
	}
}

// mark returns a value that no other operation writes.
func (c *client) mark() string {
	c.marks++
	return strconv.Itoa(c.id) + "." + strconv.Itoa(c.marks)
}

// delta returns a number so that sums tell what they are made of.
func (c *client) delta() int64 { return 1 + c.w.rng.Int64N(1<<40) }
