package history

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

const (
	// crowd bounds how many operations are under way on one unit, and
	// unknownPerUnit how many of unknown outcome it takes before it is given up:
	// the work of checking can double with each.
	crowd          = 8
	unknownPerUnit = 6
)

// unit is a key in use, or a group of keys that share a tag.
type unit struct {
	name                     string
	begun, underWay, unknown int
	// busy is true once an operation may have had an effect.
	busy bool
}

// units are those of one workload.
type units struct {
	workload workload
	prefix   string
	perKey   int

	mu    sync.Mutex
	inUse []*unit
	all   []*unit
}

func newUnits(w workload, cfg Config) *units {
	us := &units{workload: w, prefix: cfg.Prefix, perKey: cfg.PerKey, inUse: make([]*unit, cfg.Keys)}
	for i := range us.inUse {
		us.inUse[i] = us.add()
	}
	return us
}

// add begins a new unit. Call it with mu held.
func (us *units) add() *unit {
	u := &unit{name: fmt.Sprintf("%s/%s/%d", us.prefix, us.workload.name, len(us.all))}
	us.all = append(us.all, u)
	return u
}

// take returns a unit for an operation.
func (us *units) take(rng *rand.Rand) *unit {
	us.mu.Lock()
	defer us.mu.Unlock()
	i := rng.IntN(len(us.inUse))
	if u := us.inUse[i]; u.begun == us.perKey || u.unknown >= unknownPerUnit || u.underWay == crowd {
		us.inUse[i] = us.add()
	}
	u := us.inUse[i]
	u.begun++
	u.underWay++
	return u
}

// give takes a unit back after an operation.
func (us *units) give(u *unit, o target.Outcome) {
	us.mu.Lock()
	defer us.mu.Unlock()
	u.underWay--
	if o == target.Unknown {
		u.unknown++
	}
	if o != target.Failed {
		u.busy = true
	}
}

// used returns all units that an operation may have had an effect on.
func (us *units) used() []*unit {
	us.mu.Lock()
	defer us.mu.Unlock()
	var used []*unit
	for _, u := range us.all {
		if u.busy {
			used = append(used, u)
		}
	}
	return used
}
