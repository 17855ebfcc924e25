package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// heal ends all faults: everybody is up and reaches everybody, but for one
// that may stay away.
func (w *world) heal() {
	w.healing = true
	w.network = network{}
	w.stayAway()
	for _, n := range w.nodes {
		n.paused = 0
		if !n.up && (n != w.away || w.apart) {
			n.start()
		}
	}
}

// stayAway takes an in-sync member away for good, or its links to the others,
// if those can serve without it: another member is in-sync, and enough are left.
func (w *world) stayAway() {
	inSync := w.control.view.InSync
	if w.opt.MinInSync < 2 || len(w.nodes) <= w.opt.MinInSync || len(inSync) < 2 || !w.disksKnown() || w.lossy() || !w.chance(0.6) {
		return
	}
	w.away = w.nodes[nodeOf(pick(w, inSync...))]
	if w.apart = w.chance(0.5); w.apart {
		w.away = pick(w, w.away, w.leader())
		w.separate(w.away, forever-w.now-lease)
	} else {
		w.away.crash()
	}
}

// settle waits until nothing is left to do.
func (w *world) settle() {
	const enough = 20 * time.Second
	for end := w.now + enough; w.unsettled() != ""; {
		if w.now >= end {
			w.violate(Recovery, "healed, but %s", w.unsettled())
		}
		w.runUntil(w.now + 50*time.Millisecond)
	}
}

// unsettled says what is still to be done, "" if nothing is.
func (w *world) unsettled() string {
	c := w.control
	there := len(w.nodes)
	if w.away != nil {
		there--
	}
	for _, m := range c.view.InSync {
		if w.nodes[nodeOf(m)] == w.away {
			return fmt.Sprintf("in-sync are %v, of whom one is gone", c.view.InSync)
		}
	}
	if len(c.view.InSync) != there {
		return fmt.Sprintf("in-sync are %v of %v", c.view.InSync, c.view.Members)
	}
	leader := w.leader()
	if role, epoch := leader.replica.Role(); role != partition.Serving || epoch != c.view.Epoch || !leader.replica.Writable() {
		return fmt.Sprintf("%s is %v of epoch %d and the map says %d", leader.name, role, epoch, c.view.Epoch)
	}
	for _, n := range w.nodes {
		if n != w.away && (n.committed != uint64(len(w.ledger)) || n.disk.storage.at.LSN != n.committed) {
			return fmt.Sprintf("%s has committed %d and stored %d of %d entries", n.name, n.committed, n.disk.storage.at.LSN, len(w.ledger))
		}
	}
	for _, cl := range w.clients {
		if cl.op != nil {
			return fmt.Sprintf("client %d has no answer", cl.id)
		}
	}
	return ""
}

func (w *world) leader() *node { return w.nodes[nodeOf(w.control.view.Primary)] }

// readEverything reads every key once more.
func (w *world) readEverything() {
	for i, u := range w.units {
		op := &operation{unit: u}
		for cell := range u.keys {
			op.steps = append(op.steps, u.get(cell))
		}
		w.clients[i].begin(op)
	}
	w.settle()
	for _, o := range w.history[len(w.history)-len(w.units):] {
		if o.outcome != succeeded {
			w.violate(Recovery, "healed, but the %s cannot be read", o.unit.name)
		}
	}
}

// checkEnd holds the healed cluster to what it promised.
func (w *world) checkEnd() {
	want := w.ledger.state()
	for _, n := range w.nodes {
		if n == w.away {
			continue
		}
		if diff := n.items.differs(want); diff != "" {
			w.violate(Equality, "healed, but %s shows %s", n.name, diff)
		}
		if diff := n.disk.storage.items.differs(want); diff != "" {
			w.violate(Equality, "healed, but %s has stored %s", n.name, diff)
		}
	}
	w.checkVersions()
	w.checkHistory()
}

// differs returns how items differ from others, "" if they do not.
func (i items) differs(from items) string {
	for k, want := range from {
		have := i[k]
		if have.Found != want.Found || have.Expires != want.Expires || have.Version != want.Version || !bytes.Equal(have.Data, want.Data) {
			return fmt.Sprintf("%q: %+v, and committed was %+v", k, have, want)
		}
	}
	if len(i) != len(from) {
		return fmt.Sprintf("%d keys, and committed are %d", len(i), len(from))
	}
	return ""
}

// checkVersions makes sure that no version of a key was told with two values.
func (w *world) checkVersions() {
	values := map[seen]string{}
	for _, o := range w.history {
		if o.outcome != succeeded {
			continue
		}
		for i, s := range o.steps {
			r := o.results[i]
			value := string(r.Value)
			if s.Op == api.OpSet {
				value = string(s.Value)
			}
			if r.Version == "" || s.Op == api.OpExpire {
				continue
			}
			at := seen{r.Version, string(s.Key)}
			if before, ok := values[at]; ok && before != value {
				w.violate(Versions, "version %s of key %q is %q and %q", r.Version, s.Key, before, value)
			}
			values[at] = value
		}
	}
}

// checkHistory makes sure that the history of each unit is linearizable. Of the
// operations of unknown outcome it leaves out those that never became part of
// the log: whoever has seen their effects nevertheless has seen what is none.
func (w *world) checkHistory() {
	w.history = slices.DeleteFunc(w.history, func(o *operation) bool {
		if o.outcome == unknown {
			o.end = forever
		}
		return o.outcome == unknown && !w.ledger.hasAny(o.appended)
	})
	for _, u := range w.units {
		w.useStaleReads(u)
		var ops []porcupine.Operation
		for i, o := range w.history {
			if o.unit == u && !o.stale {
				ops = append(ops, porcupine.Operation{ClientId: i, Input: o, Call: int64(o.call), Return: int64(o.end)})
			}
		}
		const decide = time.Minute
		if r := porcupine.CheckOperationsTimeout(w.model(u), ops, decide); r != porcupine.Ok {
			w.print(u)
			w.violate(Linearizability, "history of the %s (%d operations): %s", u.name, len(ops), r)
		}
	}
}

// useStaleReads takes what stale reads prove: a write that one of them has seen
// was executed by then, and every later operation must see it.
func (w *world) useStaleReads(u *unit) {
	if !u.marked {
		return
	}
	wrote := map[string]*operation{}
	for _, o := range w.history {
		for i := range o.steps {
			if s := &o.steps[i]; o.unit == u && len(s.Value) > 0 {
				wrote[string(s.Value)] = o
			}
		}
	}
	for _, o := range w.history {
		if o.unit != u || !o.stale || !o.results[0].Found {
			continue
		}
		for mark := range strings.SplitAfterSeq(string(o.results[0].Value), ",") {
			if mark == "" {
				continue
			}
			by := wrote[mark]
			if by == nil || by.outcome == refused {
				w.print(u)
				w.violate(Certainty, "a stale read at %v saw %q, which nobody wrote", o.end, mark)
			}
			by.end = min(by.end, o.end)
		}
	}
}

// print tells the trace what happened to a unit.
func (w *world) print(u *unit) {
	if w.opt.Trace == nil {
		return
	}
	for _, o := range w.history {
		if o.unit == u {
			fmt.Fprintln(w.opt.Trace, o)
		}
	}
}
