package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Config describes a load whose history is recorded. The defaults are those of
// [Defaults].
type Config struct {
	// Workloads are some of those that [Workloads] lists; the clients take them
	// in turn.
	Workloads []string
	// Clients is how many operations may be under way at the same time.
	Clients int
	// Think is how long a client waits between an answer and its next operation,
	// on average. It does not count with a Rate.
	Think time.Duration
	// Rate is how many operations are begun in a second, at equal distances, as
	// long as there is a client that waits for nothing. 0 leaves the pace to the
	// clients.
	Rate float64
	// Keys is how many keys, or groups of keys, each workload has in use at a
	// time. Few are contended.
	Keys int
	// PerKey is how many operations a key gets before another one takes its
	// place, which bounds the work of checking.
	PerKey int
	// Prefix begins the names of all keys. It has to be a new one in each run.
	Prefix string
	// Seed makes the choice of operations and keys repeatable.
	Seed uint64
}

// Defaults returns a load on contended keys for a small cluster, with all the
// workloads that the store supports.
func Defaults(t target.Target, prefix string) Config {
	return Config{
		Workloads: Supported(t),
		Clients:   18,
		Think:     5 * time.Millisecond,
		Keys:      2,
		PerKey:    200,
		Prefix:    prefix,
		Seed:      1,
	}
}

// Workloads returns the names of all workloads.
func Workloads() []string {
	names := make([]string, len(workloads))
	for i, w := range workloads {
		names[i] = w.name
	}
	return names
}

// Supported returns the names of the workloads whose operations a store has.
func Supported(t target.Target) []string {
	var names []string
	for _, w := range workloads {
		if w.missing(t) == "" {
			names = append(names, w.name)
		}
	}
	return names
}

// Validate returns an error that names each field that cannot be used with a
// store.
func (c Config) Validate(t target.Target) error {
	var errs []error
	reject := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, name := range c.Workloads {
		w, ok := workloadOf(name)
		if reject(!ok, "workload %q is not known, give some of: %s", name, strings.Join(Workloads(), ", ")); ok {
			kind := w.missing(t)
			reject(kind != "", "workload %s needs the operation %s, which the store does not have", name, kind)
		}
	}
	reject(len(c.Workloads) == 0, "workloads is empty: give some of: %s", strings.Join(Workloads(), ", "))
	reject(c.Clients < len(c.Workloads), "clients is %d: give at least one for each of the %d workloads", c.Clients, len(c.Workloads))
	reject(c.Think < 0, "think is %v: give 0 or more", c.Think)
	reject(c.Rate < 0, "rate is %v: give more than 0, or 0 to leave the pace to the clients", c.Rate)
	reject(c.Keys < 1, "keys is %d: give at least 1", c.Keys)
	reject(c.PerKey < 1, "per key is %d: give at least 1", c.PerKey)
	reject(c.Prefix == "" || strings.ContainsAny(c.Prefix, "{}"), "prefix is %q: give one without braces", c.Prefix)
	return errors.Join(errs...)
}

func workloadOf(name string) (workload, bool) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		return workload{}, false
	}
	return workloads[i], true
}

// missing returns an operation of the workload that the store does not have, ""
// if it has all.
func (w workload) missing(t target.Target) target.Kind {
	for _, k := range w.kinds {
		if !t.Supports(k) {
			return k
		}
	}
	return ""
}
