package storage

import "github.com/dgraph-io/badger/v4"

// Drop forgets the data of a partition, and an unfinished load of it. They
// become garbage. It has no effect if there are none.
func (s *Store) Drop(partition uint32) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.users.Done()
	if err := s.discardLoad(partition); err != nil {
		return err
	}
	return s.replace(partition, nil, nil)
}

// replace makes c, which l has loaded, the partition's checkpoint, or leaves it
// without one, and its data so far garbage.
func (s *Store) replace(partition uint32, c *Checkpoint, l *load) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	garbage := s.held(partition)
	_, had := s.checkpoints[partition]
	_, damaged := s.damaged[partition]
	s.mu.Unlock()
	if !had && !damaged && c == nil {
		return nil
	}
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, g := range garbage {
			if err := txn.Set(g.mark(), nil); err != nil {
				return err
			}
		}
		if damaged {
			if err := txn.Delete(damageKey(partition)); err != nil {
				return err
			}
		}
		if c == nil {
			return txn.Delete(checkpointKey(partition))
		}
		if err := txn.Delete(generation{partition, c.Generation}.mark()); err != nil {
			return err
		}
		if err := txn.Delete(loadKey(partition)); err != nil {
			return err
		}
		return txn.Set(checkpointKey(partition), c.encode())
	})
	if err != nil {
		return s.fail("switch generations", err)
	}
	s.mu.Lock()
	if c == nil {
		delete(s.checkpoints, partition)
	} else {
		s.checkpoints[partition] = *c
	}
	delete(s.damaged, partition)
	if l != nil && s.loads[partition] == l {
		delete(s.loads, partition)
	}
	s.mu.Unlock()
	s.publish(true)
	for _, g := range garbage {
		s.discard(g)
	}
	return nil
}
