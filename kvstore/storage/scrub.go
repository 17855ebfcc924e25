package storage

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

const (
	// scrubStep is how much is verified between two looks at the clock.
	scrubStep = 64 << 10
	// verifyBytesPerSecond bounds what is verified because somebody asked for it.
	verifyBytesPerSecond = 32 << 20
)

// scrubAgain is the goroutine that looks for damage. It begins a pass as soon
// as the store is open: damage may be why the process before has ended.
func (s *Store) scrubAgain(ctx context.Context) {
	if s.opts.ScrubBytesPerSecond < 0 {
		return
	}
	for {
		next := time.NewTimer(s.opts.ScrubEvery)
		if err := s.Scrub(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("verifying the data has failed", "dir", s.opts.Dir, "error", err)
		}
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

// reportDamage is the goroutine that records damage, whoever has found it.
func (s *Store) reportDamage(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.noticed:
		}
		if err := s.recordDamage(); err != nil {
			return
		}
	}
}

// Scrub verifies every value of every partition against its checksum, and the
// keys against the number and the digest in the checkpoint, at
// [Options.ScrubBytesPerSecond] if that is positive. What is damaged is reported as any damage is,
// and is no error. Each partition is verified in a snapshot of its own.
func (s *Store) Scrub(ctx context.Context) error {
	for _, partition := range slices.Sorted(maps.Keys(s.Checkpoints())) {
		if err := s.scrubPartition(ctx, partition); err != nil {
			return err
		}
	}
	s.passes.Add(1)
	return nil
}

func (s *Store) scrubPartition(ctx context.Context, partition uint32) error {
	_, err := s.verify(ctx, partition, s.scrubLimit)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return nil // dropped meanwhile, or known
	}
	return err
}

// Verify does for one partition what Scrub does for all, at once, at most
// [verifyBytesPerSecond] with others that are under way, and returns how many
// bytes it has read. It returns [ErrCorrupt] if the data are damaged, and
// [ErrNotFound] if there are none.
func (s *Store) Verify(ctx context.Context, partition uint32) (bytes uint64, err error) {
	return s.verify(ctx, partition, s.verifyLimit)
}

func (s *Store) verify(ctx context.Context, partition uint32, limit *rate.Limiter) (bytes uint64, err error) {
	snap, err := s.Snapshot(partition)
	if err != nil {
		return 0, err
	}
	defer snap.Close()
	for {
		n, err := snap.verify(scrubStep)
		bytes += uint64(n)
		s.scrubbed.Add(uint64(n))
		switch {
		case errors.Is(err, io.EOF):
			return bytes, nil
		case err != nil:
			return bytes, err
		}
		for n > 0 {
			part := min(n, scrubStep)
			if err := limit.WaitN(ctx, part); err != nil {
				return bytes, err
			}
			n -= part
		}
	}
}

// Scrubbed returns how many bytes have been verified since the store was
// opened, and how many passes over all of it were completed.
func (s *Store) Scrubbed() (bytes, passes uint64) { return s.scrubbed.Load(), s.passes.Load() }
