package storage

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"

	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// Write is one operation and the position of the entry that it stands in.
type Write struct {
	Op         op.Op
	Epoch, LSN uint64
}

// Batch is a sequence of committed entries of one partition.
type Batch struct {
	Partition uint32
	// Through is the position of the last entry, which may hold no write.
	Through Position
	// Writes are those of all entries, in order of the log.
	Writes []Write
	// Then, unless nil, receives the checkpoint behind the batch, as soon as that
	// has been packed: it holds if Apply succeeds, or tells that the batch is
	// applied.
	Then *Checkpoint
}

// Apply makes the batches durable, in few large transactions. A transaction
// holds whole entries only, and the checkpoint of exactly what it holds: a
// crash, or an error, leaves some first part of the batches applied, and
// [Store.Checkpoint] says which. Entries at or below the checkpoint must not
// be given again. When Apply returns, reads see all of it.
//
// Apply keeps no reference to the batches after it returned. Concurrent calls
// take turns. The first entry of a partition without data begins them.
// [ErrNoSpace] and [ErrTooLarge] leave the store usable; an error of a commit
// makes it fail with [ErrFailed]. Data that turn out to be damaged are written
// over and reported, see [Store.Damaged], unless they were written so lately that
// they are not looked at; [ErrCorrupt] is returned only for a partition whose
// checkpoint is lost.
func (s *Store) Apply(batches []Batch) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.users.Done()
	for i := range batches {
		if err := checkPartition(batches[i].Partition); err != nil {
			return err
		}
		if err := s.withoutCheckpoint(batches[i].Partition); err != nil {
			return err
		}
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	p := s.newPacker()
	defer p.discard()
	for i := range batches {
		if err := p.addBatch(&batches[i]); err != nil {
			return err
		}
	}
	return p.commit()
}

// packer fills transactions with entries. Its owner has the turn.
type packer struct {
	store *Store
	txn   *badger.Txn
	// bytes and count are what the transaction holds, checkpoints what it
	// will say.
	bytes, count int64
	checkpoints  map[uint32]Checkpoint
	uncommitted  bool
	hasher
}

func (s *Store) newPacker() *packer {
	return &packer{store: s, txn: s.db.NewTransaction(true), checkpoints: make(map[uint32]Checkpoint)}
}

// discard gives up what is not committed.
func (p *packer) discard() {
	if p.uncommitted {
		p.store.recent.clear() // it has what the transaction would have left
	}
	p.txn.Discard()
}

// entryOverhead is more than what Badger counts for an entry beside its key
// and value.
const entryOverhead = 16

// cost is what w takes of a transaction, at most.
func (w *Write) cost() (bytes, count int64) { return cost(&w.Op) }

func cost(o *op.Op) (bytes, count int64) {
	bytes = 2*int64(itemPrefix+len(o.Key)+entryOverhead) + valueHeader + int64(len(o.Value))
	return bytes, 2
}

// CheckEntry returns [ErrTooLarge] for an entry that Apply would refuse.
func (s *Store) CheckEntry(ops []op.Op) error {
	bytes, count := int64(checkpointCost), int64(1)
	for i := range ops {
		b, c := cost(&ops[i])
		bytes, count = bytes+b, count+c
	}
	return s.checkSize(bytes, count)
}

// checkSize refuses what is too much for one transaction.
func (s *Store) checkSize(bytes, count int64) error {
	if bytes >= s.db.MaxBatchSize()*9/10 || count >= s.db.MaxBatchCount()*9/10 {
		return fmt.Errorf("%w: %d bytes in %d keys, the limits are %d and %d",
			ErrTooLarge, bytes, count, s.db.MaxBatchSize()*9/10, s.db.MaxBatchCount()*9/10)
	}
	return nil
}

// checkpointCost is what a partition's checkpoint takes.
const checkpointCost = 4 + 1 + 4 + checkpointBytes + entryOverhead

func (p *packer) addBatch(b *Batch) error {
	for rest := b.Writes; len(rest) > 0; {
		n := entryLength(rest)
		if err := p.addEntry(b.Partition, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := p.makeRoom(0, 0); err != nil {
		return err
	}
	c := p.checkpoint(b.Partition)
	c.Position = b.Through
	p.setCheckpoint(b.Partition, c)
	if b.Then != nil {
		*b.Then = c
	}
	return nil
}

// entryLength returns how many writes belong to the first entry.
func entryLength(writes []Write) int {
	n := 1
	for n < len(writes) && writes[n].LSN == writes[0].LSN && writes[n].Epoch == writes[0].Epoch {
		n++
	}
	return n
}

func (p *packer) addEntry(partition uint32, writes []Write) error {
	var bytes, count int64
	for i := range writes {
		b, c := writes[i].cost()
		bytes, count = bytes+b, count+c
	}
	if err := p.makeRoom(bytes, count); err != nil {
		return fmt.Errorf("entry %d of partition %d: %w", writes[0].LSN, partition, err)
	}
	c := p.checkpoint(partition)
	g := generation{partition, c.Generation}
	for i := range writes {
		if err := p.write(g, &c.Sum, &writes[i]); err != nil {
			return err
		}
	}
	c.Position = Position{writes[0].Epoch, writes[0].LSN}
	p.setCheckpoint(partition, c)
	p.bytes, p.count = p.bytes+bytes, p.count+count
	return nil
}

// checkpoint returns the partition's as it stands in the transaction.
func (p *packer) checkpoint(partition uint32) Checkpoint {
	if c, ok := p.checkpoints[partition]; ok {
		return c
	}
	if c, ok := p.store.Checkpoint(partition); ok {
		return c
	}
	return Checkpoint{Generation: p.store.newGeneration()}
}

func (p *packer) setCheckpoint(partition uint32, c Checkpoint) {
	if _, ok := p.checkpoints[partition]; !ok {
		p.bytes, p.count = p.bytes+checkpointCost, p.count+1
	}
	p.checkpoints[partition] = c
}

func (s *Store) newGeneration() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextGeneration++
	return s.nextGeneration
}

// makeRoom commits what the transaction holds if, with an entry of that size
// and a checkpoint, it would grow beyond half of what Badger allows. More than
// half is for a single entry.
func (p *packer) makeRoom(bytes, count int64) error {
	db := p.store.db
	bytes, count = bytes+checkpointCost, count+1
	if p.bytes+bytes < db.MaxBatchSize()/2 && p.count+count < db.MaxBatchCount()/2 {
		return nil
	}
	if err := p.store.checkSize(bytes, count); err != nil {
		return err
	}
	if len(p.checkpoints) == 0 {
		return nil
	}
	if err := p.commit(); err != nil {
		return err
	}
	*p = *p.store.newPacker()
	return nil
}

// write adds w to the transaction and brings the sum up to date.
func (p *packer) write(g generation, sum *Sum, w *Write) error {
	key := g.key(w.Op.Key)
	id := p.store.recent.fingerprint(key)
	old, err := p.old(g, id, w.Op.Key)
	if err != nil {
		return fmt.Errorf("key %q of partition %d: %w", w.Op.Key, g.partition, err)
	}
	if old.found {
		sum.remove(old.hash)
	}
	var left replaced
	switch w.Op.Kind {
	case op.Set:
		main, rest := encodeValue(g.partition, w.Op.Key, Value{w.Op.Value, w.Epoch, w.LSN, w.Op.Expires})
		left = replaced{true, rest != nil, p.hash(main, w.Op.Key)}
		sum.add(left.hash)
		err = p.txn.Set(key, main)
		switch {
		case err != nil:
		case rest != nil:
			err = p.txn.Set(g.rest().key(w.Op.Key), rest)
		case old.split:
			err = p.txn.Delete(g.rest().key(w.Op.Key))
		}
	case op.Delete:
		if !old.found {
			return nil
		}
		if err = p.txn.Delete(key); err == nil && old.split {
			err = p.txn.Delete(g.rest().key(w.Op.Key))
		}
	default:
		return fmt.Errorf("storage: unknown operation %v", w.Op.Kind)
	}
	if err != nil {
		return fmt.Errorf("storage: apply entry %d of partition %d: %w", w.LSN, g.partition, err)
	}
	p.store.recent.put(id, left)
	p.uncommitted = true
	return nil
}

// replaced is what matters of an item that another takes the place of.
type replaced struct {
	found, split bool
	hash         uint64
}

// old returns the item of the key, whose fingerprint is id, as the transaction
// sees it.
func (p *packer) old(g generation, id fingerprint, key []byte) (replaced, error) {
	if item, known := p.store.recent.get(id); known {
		return item, nil
	}
	item, err := p.read(g, key)
	if errors.Is(err, ErrCorrupt) {
		_ = p.store.notice(g, err)
		return replaced{found: true, split: true}, nil // to be removed, whatever it is
	}
	return item, err
}

func (p *packer) read(g generation, key []byte) (old replaced, err error) {
	defer recovered(&err, debug.SetPanicOnFault(true))
	item, err := p.txn.Get(g.key(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return replaced{}, nil
	}
	if err != nil {
		return replaced{}, err
	}
	err = item.Value(func(b []byte) error {
		if err := stored(b).check(); err != nil {
			return err
		}
		old = replaced{true, stored(b).split(), p.hash(b, key)}
		return nil
	})
	return old, err
}

// commit makes the transaction durable and visible.
func (p *packer) commit() error {
	for partition, c := range p.checkpoints {
		if err := p.txn.Set(checkpointKey(partition), c.encode()); err != nil {
			return p.store.fail("write a checkpoint", err)
		}
	}
	if err := p.txn.Commit(); err != nil {
		return p.store.fail("commit", err)
	}
	p.uncommitted = false
	s := p.store
	s.mu.Lock()
	before := len(s.checkpoints)
	maps.Copy(s.checkpoints, p.checkpoints)
	begun := len(s.checkpoints) > before
	s.mu.Unlock()
	s.publish(begun)
	return nil
}
