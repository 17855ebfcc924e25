package kvstore

import (
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// pending is what the primary has appended and not committed: commands are
// evaluated against it, and nobody is told of it. The replica's lock guards
// it.
type pending struct {
	keys map[string]pendingWrite
	// order are the writes as they were appended.
	order []overlaidKey
}

type pendingWrite struct {
	op op.Op
	at partition.Position
}

// item is the state that the write leaves its key in, if it is committed.
func (w pendingWrite) item() command.Item { return itemOf(w.op, w.at) }

func itemOf(o op.Op, at partition.Position) command.Item {
	if o.Kind == op.Delete {
		return command.Item{}
	}
	return command.Item{Found: true, Data: o.Value, Expires: o.Expires, Version: command.Position(at)}
}

func (p *pending) add(at partition.Position, ops []op.Op) {
	if p.keys == nil {
		p.keys = map[string]pendingWrite{}
	}
	for _, o := range ops {
		key := string(o.Key)
		p.keys[key] = pendingWrite{o, at}
		p.order = append(p.order, overlaidKey{at.LSN, key})
	}
}

// committed forgets the writes through lsn.
func (p *pending) committed(lsn uint64) {
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
