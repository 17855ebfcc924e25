package workload

import "fmt"

// key is one key and what its owner, the only one who writes it, knows about
// it. Writes are numbered from 1.
//
// A write of unknown outcome may be executed at any later time, also after a
// later write was acknowledged. So it is the last one to its key: from then
// on there are exactly two values that may be read.
type key struct {
	name    string
	acked   uint64
	unknown uint64
	next    uint64
}

func newKey(run string, client, slot, generation int) *key {
	return &key{name: fmt.Sprintf("loadtest/%s/%d/%d.%d", run, client, slot, generation), next: 1}
}

// Kind is the way in which a read contradicts what was acknowledged.
type Kind string

const (
	// Lost is an acknowledged write that is missing.
	Lost Kind = "lost write"
	// Phantom is a write that was executed but reported as not executed, or
	// was never sent.
	Phantom Kind = "phantom write"
	// Corrupt is a value that nobody wrote, or that was written to another key.
	Corrupt Kind = "corrupt value"
)

// Violation is one read that contradicts what was acknowledged.
type Violation struct {
	Kind   Kind
	Key    string
	Detail string
}

func (v Violation) String() string { return fmt.Sprintf("%s: key %q: %s", v.Kind, v.Key, v.Detail) }

// check holds what was read against what is known; found is false if the key
// was absent. It returns nil if both agree.
func (k *key) check(value []byte, found bool) *Violation {
	violation := func(kind Kind, format string, args ...any) *Violation {
		return &Violation{Kind: kind, Key: k.name, Detail: fmt.Sprintf(format, args...)}
	}
	var seq uint64
	if found {
		name, n, err := decodeValue(value)
		switch {
		case err != nil:
			return violation(Corrupt, "%v", err)
		case name != k.name:
			return violation(Corrupt, "it holds write %d of key %q", n, name)
		case n == 0:
			return violation(Corrupt, "it holds write 0")
		}
		seq = n
	}
	switch {
	case seq == k.acked, k.unknown != 0 && seq == k.unknown:
		return nil
	case seq < k.acked && !found:
		return violation(Lost, "absent, but write %d was acknowledged", k.acked)
	case seq < k.acked:
		return violation(Lost, "it holds write %d, but write %d was acknowledged", seq, k.acked)
	default:
		return violation(Phantom, "it holds write %d, the last acknowledged is %d%s", seq, k.acked, k.andUnknown())
	}
}

func (k *key) andUnknown() string {
	if k.unknown == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d of unknown outcome", k.unknown)
}
