package sim

import (
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	// comparing is how long a digest is waited for.
	comparing = 400 * time.Millisecond
	// comparingAgain is how often is looked whether it is there.
	comparingAgain = 15 * time.Millisecond
	// repairing is how often a node asks to have its damaged copy made anew.
	repairing = 200 * time.Millisecond
)

// digest describes items, whatever their order.
func (i items) digest() (sum uint64) {
	for key, item := range i {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key + "\x00" + item.Version.String() + "\x00" + strconv.FormatUint(item.Expires, 10) + "\x00"))
		_, _ = h.Write(item.Data)
		sum += h.Sum64()
	}
	return sum
}

// damage takes away what a copy has of a key, if it has any.
func (w *world) damage(i items) {
	keys := make([]string, 0, len(i))
	for key := range i {
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return
	}
	slices.Sort(keys)
	w.count(damages)
	delete(i, pick(w, keys...))
}

// digestAt calls f with the digest of the storage behind an entry, as soon as
// that is stored, and with false if it is not known by the end.
func (n *node) digestAt(lsn uint64, end time.Duration, f func(digest uint64, ok bool)) {
	if n.committed >= lsn {
		n.storeNow()
		n.replica.Applied(n.disk.storage.at.LSN)
	}
	digest, marked := n.marks[lsn]
	switch at := n.disk.storage.at.LSN; {
	case at == lsn:
		f(n.disk.storage.items.digest(), true)
	case at > lsn || n.w.now >= end:
		f(digest, marked)
	default:
		n.later(comparingAgain, func() { n.digestAt(lsn, end, f) })
	}
}

// compare compares the copy of a member with the node's own.
func (n *node) compare(v partition.Verify) {
	peer, process, end := n.w.nodes[nodeOf(v.Member)], n.process, n.w.now+comparing
	answered := false
	answer := func(verdict partition.Verdict) {
		if !answered && process == n.process {
			answered = true
			n.w.note("compared", n.id, uint64(peer.id), v.At, uint64(verdict))
			n.replica.Verified(v, verdict)
		}
	}
	n.later(comparing, func() { answer(partition.Undecided) })
	n.digestAt(v.At, end, func(own uint64, ok bool) {
		if !ok {
			answer(partition.Undecided)
			return
		}
		n.w.toNode(n.id, peer, func() {
			if peer.replica.Self() != v.Member {
				return
			}
			peer.digestAt(v.At, end, func(other uint64, ok bool) {
				verdict := partition.Undecided
				switch {
				case ok && other == own:
					verdict = partition.Equal
					n.w.count(comparisons)
				case ok:
					verdict = partition.Different
				}
				n.w.toNode(peer.id, n, func() { answer(verdict) })
			})
		})
	})
}

// refuse tells a member that its copy is not to be used.
func (n *node) refuse(m partition.Member) {
	peer := n.w.nodes[nodeOf(m)]
	n.w.toNode(n.id, peer, func() {
		if peer.replica.Self() == m && !slices.Contains(peer.view.InSync, m) && peer.disk.refused == (partition.Member{}) {
			peer.disk.refused = m
			peer.repair()
		}
	})
}

// repair asks for another assignment as long as the copy of this one is not to
// be used.
func (n *node) repair() {
	if m := n.disk.refused; m != (partition.Member{}) {
		n.w.toControl(n, func() { n.w.control.copyAnew(m) })
		n.later(repairing, n.repair)
	}
}

// discard begins a copy that was refused anew, when it is assigned anew: only
// the promise stays. It is simulated as a restart.
func (n *node) discard() bool {
	refused := n.disk.refused
	if refused == (partition.Member{}) || slices.Contains(n.view.Members, refused) {
		return false
	}
	n.w.note("discard", n.id, refused.Incarnation, 0, 0)
	n.w.count(remade)
	promise := n.replica.Promise()
	n.crash()
	n.disk = newDisk(refused.Store)
	n.disk.state.Promise = promise
	n.start()
	return true
}

// copyAnew gives a member another incarnation, outside of the in-sync set, if
// another one is in-sync and present.
func (c *control) copyAnew(m partition.Member) {
	other := func(o partition.Member) bool { return o != m && c.present(o) }
	if slices.Contains(c.view.Members, m) && slices.ContainsFunc(c.view.InSync, other) {
		c.replace(m, m.Store)
		c.elect()
	}
}
