package sim

import (
	"maps"
	"slices"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// disk is what a node keeps across a crash: its log as far as it is fsynced,
// and its storage.
type disk struct {
	store string

	state   partition.State
	base    partition.Position
	entries []partition.Entry // above base

	storage storage
	// refused is the member whose copy this is and is not to be used, zero if
	// it is.
	refused partition.Member
}

// storage is the committed data, which is written together with the position
// through which it holds the log.
type storage struct {
	at    partition.Position
	items items
}

// items are the states of keys.
type items map[string]command.Item

func newDisk(store string) disk { return disk{store: store, storage: storage{items: items{}}} }

// record is what the log writes as one: it is on the disk as a whole or not at
// all. It has one of the parts of a write.
func (d *disk) record(w partition.Write, i int) (ok bool) {
	if w.HasReset {
		if i == 0 {
			d.base, d.entries = w.Reset, nil
			return true
		}
		i--
	}
	if w.HasState {
		if i == 0 {
			d.state = w.State
			return true
		}
		i--
	}
	if i >= len(w.Entries) {
		return false
	}
	e := w.Entries[i]
	d.entries = append(d.entries[:e.LSN-d.base.LSN-1], e)
	return true
}

// write puts a write on the disk.
func (d *disk) write(w partition.Write) {
	for i := 0; d.record(w, i); i++ {
	}
}

// tear puts the first records of some writes on the disk: the rest was lost, or
// torn, and a recovery cuts it off.
func (d *disk) tear(writes []partition.Write, records int) {
	for _, w := range writes {
		for i := 0; records > 0 && d.record(w, i); i++ {
			records--
		}
	}
}

// records counts the records of writes.
func records(writes []partition.Write) (n int) {
	for _, w := range writes {
		n += len(w.Entries)
		if w.HasReset {
			n++
		}
		if w.HasState {
			n++
		}
	}
	return n
}

// read returns a few entries from lsn on, none when they are not held any more.
func (d *disk) read(lsn uint64) []partition.Entry {
	if lsn <= d.base.LSN || lsn > d.base.LSN+uint64(len(d.entries)) {
		return nil
	}
	entries := d.entries[lsn-d.base.LSN-1:]
	return slices.Clone(entries[:min(len(entries), 3)])
}

// trim forgets entries below first, which the storage holds.
func (d *disk) trim(first uint64) {
	if first <= d.base.LSN+1 || first > d.base.LSN+uint64(len(d.entries)) {
		return
	}
	n := first - 1 - d.base.LSN
	d.base, d.entries = d.entries[n-1].Position(), slices.Clone(d.entries[n:])
}

// recover is what a process finds when it starts.
func (d *disk) recover() partition.Recovered {
	rec := partition.Recovered{State: d.state, Base: d.base, Applied: d.storage.at}
	rec.Positions = make([]partition.Position, len(d.entries))
	for i, e := range d.entries {
		rec.Positions[i] = e.Position()
	}
	if from := max(d.storage.at.LSN, d.base.LSN) - d.base.LSN; from < uint64(len(d.entries)) {
		rec.Unapplied = slices.Clone(d.entries[from:])
	}
	return rec
}

func (s storage) clone() storage { return storage{s.at, maps.Clone(s.items)} }
