package kvstore

import (
	"context"
	"errors"
	"sort"
	"strconv"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// scan is a snapshot of what is committed of a partition under a prefix: an
// unchanging picture of the storage, and over it what was committed and not yet
// stored. Taken by a primary that was shown to be one afterwards, it is good for
// ever: later pages of it need no lease.
type scan struct {
	id      uint64
	replica *replica
	// epoch is the one in which it was taken, and clock what the node's clock
	// said before all that it does not show was evaluated: values that had run
	// out by it are absent.
	epoch, clock uint64
	prefix       string // as the storage has it
	picture      *storage.Picture
	over         []overItem
}

// maxOver bounds what a scan keeps in memory of what is not yet stored.
const maxOver = 4 << 20

// scan takes a snapshot of the keys with the prefix, which is one that clients
// know, and gives it the number id. The caller closes it. What it shows counts
// only when [replica.cover] has returned nil afterwards.
func (r *replica) scan(ctx context.Context, id uint64, prefix []byte) (*scan, error) {
	s := &scan{id: id, replica: r, epoch: r.serving.Load(), prefix: string(command.UserKey(prefix))}
	if s.epoch == 0 {
		return nil, errNotServing
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	for {
		// Between the two the overlay must not have forgotten anything: it may
		// be newer than the picture, and has whatever the picture lacks.
		before := r.overlay.pruned()
		picture, err := r.node.storage.Picture(r.id)
		if err != nil {
			return nil, api.Errorf(api.CodeUnavailable, "partition-%d: %v", r.id, err)
		}
		over := r.overlay.under(s.prefix)
		switch {
		case over.pruned != before:
		case over.bytes > maxOver:
			if err = r.node.applier.catchUp(ctx, r); err != nil {
				picture.Close()
				return nil, err
			}
		default:
			s.picture, s.over = picture, over.items
			return s, nil
		}
		picture.Close()
	}
}

// settle reads the clock, and waits until everything is committed that was
// appended before: an operation among that may have kept a value that has run
// out since, and the snapshot has to show what it did.
func (s *scan) settle(ctx context.Context) error {
	r := s.replica
	r.mu.Lock()
	s.clock = r.node.clock.now()
	role, epoch := r.sm.Role()
	last, x := r.sm.Last().LSN, execution{}
	serves := role == partition.Serving && epoch == s.epoch
	wait := serves && r.sm.Commit() < last
	if wait {
		x.done = r.waitFor(last, nil)
	}
	r.mu.Unlock()
	switch {
	case !serves:
		return errNotServing
	case !wait:
		return nil
	}
	return r.await(ctx, x)
}

func (s *scan) close() { s.picture.Close() }

// cover returns nil if the replica has been the only primary, in the epoch, at
// an instant after the call.
func (r *replica) cover(ctx context.Context, epoch uint64) error {
	if r.leased(epoch) {
		return nil
	}
	return r.confirm(ctx)
}

// page returns items from the key on, as far as the limits go, and the key to go
// on from, which is nil at the end. What has run out is deleted before it is
// left out; the error is errNotServing if that is not possible because the epoch
// of the snapshot has ended.
func (s *scan) page(ctx context.Context, from []byte, limit int) (items []api.ScanItem, next []byte, err error) {
	items = []api.ScanItem{}
	var expired []api.ScanItem
	size := 0
	err = s.merge(ctx, command.UserKey(from), func(key []byte, item command.Item) bool {
		key, _ = command.ClientKey(key)
		count := len(items) + len(expired)
		if size += len(key) + len(item.Data); count == limit || count > 0 && size > api.MaxScanBytes {
			next = key
			return false
		}
		i := api.ScanItem{Key: key, Value: item.Data, Version: item.Version.String()}
		switch {
		case item.Expires == 0:
			items = append(items, i)
		case item.Expires > s.clock:
			i.TTL = int64(item.Expires - s.clock)
			items = append(items, i)
		default:
			i.Value = nil
			expired = append(expired, i)
		}
		return true
	})
	if err == nil && len(expired) > 0 {
		err = s.expire(ctx, expired)
	}
	return items, next, err
}

// merge calls f with the items from the key on, until it returns false.
func (s *scan) merge(ctx context.Context, from []byte, f func(key []byte, item command.Item) bool) error {
	over := s.over[sort.Search(len(s.over), func(i int) bool { return s.over[i].key >= string(from) }):]
	full := false
	// through calls f with what is over the storage, through the key, and
	// reports whether the key is there.
	through := func(key []byte, all bool) (there bool) {
		for !full && !there && len(over) > 0 && (all || over[0].key <= string(key)) {
			there = over[0].key == string(key) && !all
			if over[0].item.Found {
				full = !f([]byte(over[0].key), over[0].item)
			}
			over = over[1:]
		}
		return there
	}
	err := s.picture.Items([]byte(s.prefix), from, func(i storage.Item) bool {
		if !through(i.Key, false) && !full {
			full = !f(i.Key, command.Item{Found: true, Data: i.Data, Expires: i.Expires, Version: command.Position{Epoch: i.Epoch, LSN: i.LSN}})
		}
		return !full && ctx.Err() == nil
	})
	if err != nil {
		return api.Errorf(api.CodeUnavailable, "partition-%d: %v", s.replica.id, err)
	}
	if err := ctx.Err(); err != nil {
		return api.Errorf(api.CodeUnavailable, "partition-%d: the page was not read in time", s.replica.id)
	}
	through(nil, true)
	return nil
}

// expire has values deleted that had run out when the snapshot was taken, unless
// others stand in their place. Then they are absent in the snapshot: as long as
// its epoch lasts, whatever the snapshot does not show was evaluated by a clock
// by which they had run out.
func (s *scan) expire(ctx context.Context, values []api.ScanItem) error {
	begun, err := s.beginExpiry(ctx, values)
	if err != nil {
		return err
	}
	for i := range begun {
		x := &begun[i]
		if x.done != nil {
			if err := s.replica.await(ctx, *x); err != nil {
				return err
			}
		}
		if _, err := x.Answer(); !errors.Is(err, api.ErrConditionFailed) {
			return api.Errorf(api.CodeUnavailable, "partition-%d: key %q has run out and cannot be deleted: %v", s.replica.id, values[i].Key, err)
		}
	}
	if s.replica.serving.Load() != s.epoch {
		return errNotServing
	}
	return nil
}

// beginExpiry begins the deletions, in one turn.
func (s *scan) beginExpiry(ctx context.Context, values []api.ScanItem) ([]execution, error) {
	var t turn
	defer s.replica.node.end(&t)
	begun := make([]execution, len(values))
	for i, v := range values {
		var err error
		b := api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: v.Key, If: api.IfVersion, Version: v.Version}}}
		if _, begun[i], err = s.replica.begin(ctx, &t, b, caller{mayWait: true}); err != nil {
			return nil, err
		}
	}
	return begun, nil
}

// has reports whether the snapshot is of that prefix.
func (s *scan) has(prefix []byte) bool { return s.prefix == string(command.UserKey(prefix)) }

// name is what clients are told of the snapshot.
func (s *scan) name() string { return strconv.FormatUint(s.id, 36) }
