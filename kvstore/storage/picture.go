package storage

import (
	"bytes"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
)

// Picture is an unchanging picture of a partition, to be read in pieces and
// from any key on. While it is open, Badger keeps what it shows: it should not
// be open for hours. Its methods may be called concurrently, but Close only when
// the others have returned.
type Picture struct {
	store      *Store
	view       *view
	generation generation
	empty      bool
}

// Picture opens a picture of the last transaction applied. It takes no lock that
// is held over I/O and never waits for a write. The caller closes it.
func (s *Store) Picture(partition uint32) (*Picture, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	p := &Picture{store: s}
	s.opening(p)
	p.view = s.acquire() // the store does not close before Done
	number, ok := p.view.generations[partition]
	p.generation, p.empty = generation{partition, number}, !ok
	return p, nil
}

// Items calls f with the items whose keys have the prefix, in order of their
// keys, from the first on that is not below from, until f returns false. They
// belong to the callee. A damaged item is [ErrCorrupt]; that one is missing is
// not noticed, as by [Store.Get].
func (p *Picture) Items(prefix, from []byte, f func(Item) bool) (err error) {
	if p.empty {
		return nil
	}
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	defer func() { err = p.store.notice(p.generation, err) }()
	defer recovered(&err, debug.SetPanicOnFault(true))
	it := p.view.txn.NewIterator(badger.IteratorOptions{Prefix: p.generation.key(prefix)})
	defer it.Close()
	for it.Seek(p.generation.key(from)); it.Valid(); it.Next() {
		v, err := readItem(p.view.txn, it.Item(), p.generation)
		if err != nil {
			return err
		}
		if !f(Item{bytes.Clone(it.Item().Key()[itemPrefix:]), v}) {
			return nil
		}
	}
	return nil
}

// Close releases the picture, once.
func (p *Picture) Close() {
	p.view.release()
	p.store.hasClosed(p)
	p.store.users.Done()
}
