package kvstore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// ScanRequest asks for a page of a scan.
type ScanRequest struct {
	// Prefix is what the keys begin with. Partition is the number of the only
	// partition to be scanned, -1 for all that may have such keys, in turn.
	Prefix    []byte
	Partition int
	// Cursor goes on behind an earlier page, whose prefix and partition are then
	// those of the scan.
	Cursor string
	// Limit is how many items the page has at most, 0 for
	// [api.DefaultScanItems].
	Limit int
	// Newer goes on with a newer snapshot when that of the cursor is gone.
	Newer bool
	// NoForward asks for an error rather than for the help of another node.
	NoForward bool
}

// Scan returns a page of what stands under the keys with a prefix. The pages of
// one snapshot show one state of the partition, which it was in at an instant
// between the request for the first and its answer, and in which values are
// absent that had run out. Without Newer a partition is shown from one snapshot,
// or the error is [api.ErrSnapshotGone]: the snapshot stays with the node that
// has taken it, until it is not asked for in scanIdle, or for scanAge, or the
// node goes.
func (rt *Router) Scan(ctx context.Context, req ScanRequest) (answer api.ScanAnswer, err error) {
	defer func(start time.Time) { rt.node.metrics.observe("scan", start, err) }(time.Now())
	if req.Limit == 0 {
		req.Limit = api.DefaultScanItems
	}
	if req.Limit < 1 || req.Limit > api.MaxScanItems {
		return answer, api.Errorf(api.CodeBadRequest, "limit: %d is out of range, use 1 to %d", req.Limit, api.MaxScanItems)
	}
	ctx, cancel := context.WithTimeout(ctx, routePatience)
	defer cancel()
	c, err := rt.beginScan(req)
	for err == nil {
		if answer, err = rt.scanOnce(ctx, req, c); err != nil {
			return api.ScanAnswer{}, err
		}
		if answer.Cursor == "" || len(answer.Items) > 0 || req.NoForward || ctx.Err() != nil {
			return answer, nil
		}
		c, err = decodeCursor(answer.Cursor) // of another partition, or behind what has run out
	}
	return answer, err
}

// beginScan returns where a request wants to begin or to go on.
func (rt *Router) beginScan(req ScanRequest) (cursor, error) {
	m := rt.node.cluster.Map()
	if m == nil {
		_, err := rt.partition(nil)
		return cursor{}, err
	}
	c := cursor{only: req.Partition >= 0, partition: uint32(max(0, req.Partition)), prefix: req.Prefix, from: req.Prefix}
	if req.Cursor != "" {
		var err error
		if c, err = decodeCursor(req.Cursor); err != nil {
			return c, api.Errorf(api.CodeBadRequest, "cursor: %v", err)
		}
		if len(req.Prefix) > 0 && !bytes.Equal(req.Prefix, c.prefix) || req.Partition >= 0 && (!c.only || req.Partition != int(c.partition)) {
			return c, api.Errorf(api.CodeBadRequest, "cursor: it is of a scan with another prefix or partition")
		}
	}
	switch {
	case len(c.prefix) > api.MaxKeyBytes:
		return c, api.Errorf(api.CodeTooLarge, "prefix: %d bytes, at most %d are allowed", len(c.prefix), api.MaxKeyBytes)
	case int(c.partition) >= len(m.Partitions):
		return c, api.Errorf(api.CodeBadRequest, "partition: %d is out of range, there are %d", c.partition, len(m.Partitions))
	case req.Cursor == "" && req.Partition < 0 && m.Config.Hash == clusterkit.HashCRC16Slots && hasTag(req.Prefix):
		part, err := rt.partition(req.Prefix)
		c.only, c.partition = true, uint32(part)
		return c, err
	}
	return c, nil
}

// hasTag reports whether all keys with the prefix have one {tag}.
func hasTag(prefix []byte) bool {
	_, tag, _ := strings.Cut(string(prefix), "{")
	return strings.IndexByte(tag, '}') > 0
}

// scanOnce reads a page of the cursor's partition.
func (rt *Router) scanOnce(ctx context.Context, req ScanRequest, c cursor) (answer api.ScanAnswer, err error) {
	if c.scan != 0 {
		answer, err = rt.scanOn(ctx, req, c)
		if !errors.Is(err, api.ErrSnapshotGone) || !req.Newer {
			return answer, err
		}
		c.scan, c.node = 0, ""
	}
	err = rt.reach(ctx, int(c.partition), req.NoForward, route{
		here: func(r *replica) error {
			answer, err = rt.scanHere(ctx, r, req, c)
			return err
		},
		there: func(_ *clusterkit.Partition, addr string) error {
			answer, err = rt.forward.scan(ctx, addr, req, c)
			return err
		},
	})
	return answer, err
}

// scanHere takes a snapshot and reads its first page.
func (rt *Router) scanHere(ctx context.Context, r *replica, req ScanRequest, c cursor) (api.ScanAnswer, error) {
	s, err := r.scan(ctx, 1+rand.Uint64N(1<<63), c.prefix)
	if err != nil {
		return api.ScanAnswer{}, err
	}
	answer, ended, err := rt.pageOf(ctx, s, req, c)
	if err == nil {
		err = r.cover(ctx, s.epoch)
	}
	if err != nil || ended {
		s.close()
		return answer, err
	}
	rt.node.scans.keep(s, time.Now())
	return answer, nil
}

// scanOn reads a page of a snapshot that is open.
func (rt *Router) scanOn(ctx context.Context, req ScanRequest, c cursor) (answer api.ScanAnswer, err error) {
	self := rt.node.self.Node
	if c.node == self {
		s, done := rt.node.scans.use(c.scan, time.Now())
		if s == nil || s.replica.id != c.partition {
			if s != nil {
				done(false)
			}
			return answer, api.ErrSnapshotGone
		}
		answer, ended, err := rt.pageOf(ctx, s, req, c)
		done(ended && err == nil)
		if errors.Is(err, errNotServing) {
			err = api.ErrSnapshotGone
		}
		return answer, err
	}
	err = rt.persist(ctx, func() (why string, err error) {
		n := rt.node.cluster.Map().Node(c.node)
		switch {
		case n == nil || !n.Alive:
			return "", api.ErrSnapshotGone
		case req.NoForward:
			return "", api.ErrNotPrimary.With("primary", n.ID).With("address", n.IP)
		}
		answer, err = rt.forward.scan(ctx, n.IP, req, c)
		return anotherTry(err, "the node "+n.ID+", which has the snapshot, does not answer")
	})
	return answer, err
}

// pageOf reads a page and says where to go on; ended reports whether that is not
// in this snapshot.
func (rt *Router) pageOf(ctx context.Context, s *scan, req ScanRequest, c cursor) (answer api.ScanAnswer, ended bool, err error) {
	if !s.has(c.prefix) {
		return answer, false, api.Errorf(api.CodeBadRequest, "cursor: its snapshot is of another prefix")
	}
	items, next, err := s.page(ctx, c.from, req.Limit)
	if err != nil {
		return answer, false, err
	}
	answer = api.ScanAnswer{Items: items, Partition: int(c.partition), Snapshot: s.name()}
	switch {
	case next != nil:
		c.node, c.scan, c.from = rt.node.self.Node, s.id, next
		answer.Cursor = c.encode()
	case !c.only && int(c.partition)+1 < len(rt.node.cluster.Map().Partitions):
		c = cursor{partition: c.partition + 1, prefix: c.prefix, from: c.prefix}
		answer.Cursor = c.encode()
	}
	return answer, next == nil, nil
}
