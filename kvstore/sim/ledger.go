package sim

import (
	"bytes"
	"slices"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// ledger is all that any replica has committed, by LSN-1.
type ledger []committed

type committed struct {
	partition.Entry
	clock   uint64
	effects []effect
}

// effect is the state in which an entry leaves a key.
type effect struct {
	key  string
	item command.Item
}

func (i items) take(effects []effect) {
	for _, e := range effects {
		if e.item.Found {
			i[e.key] = e.item
		} else {
			delete(i, e.key)
		}
	}
}

// commits takes that a node has committed an entry: it must be the one that
// everybody else commits there.
func (w *world) commits(n *node, e partition.Entry) *committed {
	i := int(e.LSN) - 1
	switch {
	case i > len(w.ledger):
		w.violate(Agreement, "%s commits lsn %d, the end is %d", n.name, e.LSN, len(w.ledger))
	case i == len(w.ledger):
		w.ledger = append(w.ledger, w.decode(n, e))
	case w.ledger[i].Epoch != e.Epoch || !bytes.Equal(w.ledger[i].Data, e.Data):
		w.violate(Agreement, "%s commits %d.%d %q, where %d.%d %q was committed", n.name, e.Epoch, e.LSN, e.Data, w.ledger[i].Epoch, w.ledger[i].LSN, w.ledger[i].Data)
	}
	return &w.ledger[i]
}

func (w *world) decode(n *node, e partition.Entry) committed {
	decoded, err := op.Decode(e.Data)
	if err != nil {
		w.violate(Agreement, "%s commits %d.%d: %v", n.name, e.Epoch, e.LSN, err)
	}
	c := committed{Entry: e, clock: decoded.Clock, effects: make([]effect, len(decoded.Ops))}
	for i, o := range decoded.Ops {
		c.effects[i] = effect{string(o.Key), command.ItemOf(o, command.Position(e.Position()))}
	}
	return c
}

// hasAny reports whether any of the entries has been committed.
func (l ledger) hasAny(entries []partition.Position) bool {
	return slices.ContainsFunc(entries, func(p partition.Position) bool {
		return p.LSN <= uint64(len(l)) && l[p.LSN-1].Epoch == p.Epoch
	})
}

// state is what the replicas must hold when all of the ledger is applied.
func (l ledger) state() items {
	all := items{}
	for i := range l {
		all.take(l[i].effects)
	}
	return all
}
