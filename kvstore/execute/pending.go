package execute

import (
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// Pending is what the primary has appended and not committed: batches are
// evaluated against it, and nobody is told of it. The zero value is empty. It
// is not safe for concurrent use.
type Pending struct {
	// Rules can be broken on purpose, in builds with the tag "planted" only.
	planted.Rules

	keys map[string]pendingWrite
	// order are the writes as they were appended.
	order []pendingKey
}

type pendingWrite struct {
	op op.Op
	at command.Position
}

// item is the state that the write leaves its key in, if it is committed.
func (w pendingWrite) item() command.Item { return command.ItemOf(w.op, w.at) }

type pendingKey struct {
	lsn uint64
	key string
}

func (p *Pending) add(at command.Position, ops []op.Op) {
	if p.keys == nil {
		p.keys = map[string]pendingWrite{}
	}
	for _, o := range ops {
		key := string(o.Key)
		p.keys[key] = pendingWrite{o, at}
		p.order = append(p.order, pendingKey{at.LSN, key})
	}
}

// Committed forgets the writes through lsn: they are among what is committed
// now.
func (p *Pending) Committed(lsn uint64) {
	n := 0
	for ; n < len(p.order) && p.order[n].lsn <= lsn; n++ {
		if k := p.order[n]; p.keys[k.key].at.LSN == k.lsn {
			delete(p.keys, k.key)
		}
	}
	if p.order = p.order[n:]; len(p.order) == 0 {
		p.order = nil
	}
}

// Clear forgets everything: the role has ended, and what was appended may or
// may not be committed by the next primary.
func (p *Pending) Clear() { p.keys, p.order = nil, nil }
