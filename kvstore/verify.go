package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// maxVerification bounds the answer of another node.
const maxVerification = 1 << 20

// Verify compares the in-sync copies of a partition, while it is written to.
// Each one tells its digest behind the same entry, and then reads all it has
// from the disk, at a limited rate, and holds that against the digest in its
// checkpoint. Node by node that proves what the digest stands for, and between
// the nodes that it stands for the same.
//
// A copy that is damaged is made anew. So is one that differs from the primary's,
// but only if the copies that agree with the primary are most of those that are
// in-sync: then both who gives the order of writes and most of those who have
// taken it testify against it. A primary that differs from the rest is reported
// and left to an operator. Its clients have seen what it has, and the others may
// have their data from a common source; whoever decides that they are right moves
// the primary to one of them and verifies again.
//
// With noForward it is refused by a node that is not the primary. The error is
// of package api.
func (n *Node) Verify(ctx context.Context, id string, noForward bool) (api.Verification, error) {
	m := n.cluster.Map()
	if m == nil {
		return api.Verification{}, api.Errorf(api.CodeUnavailable, "this node knows no cluster yet")
	}
	i := slices.IndexFunc(m.Partitions, func(p clusterkit.Partition) bool { return p.ID == id })
	if i < 0 {
		return api.Verification{}, api.Errorf(api.CodeNotFound, "there is no partition %q: they are partition-0 to partition-%d", id, len(m.Partitions)-1)
	}
	primary := m.Node(m.Partitions[i].Primary)
	switch {
	case primary == nil:
		return api.Verification{}, api.Errorf(api.CodeUnavailable, "%s has no primary", id)
	case primary.ID == n.self.Node:
		return n.verifyHere(ctx, id, uint32(i))
	case noForward:
		return api.Verification{}, api.ErrNotPrimary.With("primary", primary.ID).With("address", primary.IP)
	default:
		return n.comparisons.verifyAt(ctx, primary.IP, id)
	}
}

// verifyAt has the primary verify.
func (c *comparisons) verifyAt(ctx context.Context, addr, id string) (v api.Verification, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+api.PathPartitions+id+api.Verify, http.NoBody)
	if err != nil {
		return v, api.Errorf(api.CodeUnavailable, "%s: %v", id, err)
	}
	req.Header.Set(api.HeaderNoForward, "1")
	resp, err := c.http.Do(req)
	if err != nil {
		return v, api.Errorf(api.CodeUnavailable, "%s: its primary does not answer: %v", id, err)
	}
	defer resp.Body.Close()
	body := json.NewDecoder(io.LimitReader(resp.Body, maxVerification))
	if resp.StatusCode == http.StatusOK {
		err = body.Decode(&v)
	} else {
		var refused api.ErrorBody
		if err = body.Decode(&refused); err == nil && refused.Error != nil {
			return v, refused.Error
		}
	}
	if err != nil {
		return v, api.Errorf(api.CodeUnavailable, "%s: its primary at %s answered %s: %v", id, addr, resp.Status, err)
	}
	return v, nil
}

func (n *Node) verifyHere(ctx context.Context, id string, part uint32) (api.Verification, error) {
	r := n.replica(part)
	if r == nil {
		return api.Verification{}, api.Errorf(api.CodeUnavailable, "%s is being set up on its primary", id)
	}
	var at uint64
	var view partition.View
	var err error
	r.do(func(sm *partition.Replica) {
		view = sm.View()
		at, err = sm.Mark()
	})
	if err != nil {
		return api.Verification{}, api.Errorf(api.CodeUnavailable, "%s: its primary takes no requests now", id)
	}
	seen := make([]sighting, len(view.InSync))
	var wg sync.WaitGroup
	for i, m := range view.InSync {
		wg.Go(func() { seen[i] = n.comparisons.look(ctx, r, m, at) })
	}
	wg.Wait()
	own := slices.IndexFunc(seen, func(s sighting) bool { return s.member == view.Primary })
	if own < 0 || seen[own].err != nil {
		return api.Verification{}, api.Errorf(api.CodeUnavailable, "%s: its primary does not get behind entry %d: %v", id, at, seen[own].err)
	}
	v := api.Verification{Partition: id, Position: FormatVersion(partition.Position{Epoch: seen[own].answer.Epoch, LSN: at})}
	v.Copies, v.OK = judge(seen, own)
	for i := range v.Copies {
		if v.Copies[i].Remade && v.Copies[i].State == api.CopyDiffers {
			n.comparisons.remake(ctx, part, seen[i], &v.Copies[i])
		}
	}
	return v, nil
}

// sighting is what a copy looks like.
type sighting struct {
	member partition.Member
	answer digestAnswer
	err    error
}

func (s *sighting) sum() storage.Sum {
	return storage.Sum{Count: s.answer.Count, Digest: s.answer.Digest}
}

// judge returns the verdicts on copies, of which one is the primary's, and
// whether all are well.
func judge(seen []sighting, primary int) (copies []api.VerifiedCopy, ok bool) {
	sound := func(s sighting) bool { return s.err == nil && s.answer.Damage == "" }
	agreeing := 0
	for _, s := range seen {
		if sound(s) && sound(seen[primary]) && s.sum() == seen[primary].sum() {
			agreeing++
		}
	}
	ok = true
	for i, s := range seen {
		c := api.VerifiedCopy{Node: s.member.Node, Primary: i == primary, State: api.CopyOK, Items: s.answer.Count, Bytes: s.answer.Scanned}
		if s.err == nil {
			c.Digest = fmt.Sprintf("%016x", s.answer.Digest)
		}
		switch {
		case s.err != nil:
			c.State, c.Detail = api.CopyNotReachable, s.err.Error()
		case s.answer.Damage != "":
			c.State, c.Detail, c.Remade = api.CopyDamaged, s.answer.Damage, len(seen) > 1
		case sound(seen[primary]) && s.sum() != seen[primary].sum():
			c.State = api.CopyDiffers
			if c.Remade = 2*agreeing > len(seen); !c.Remade {
				c.Detail = "it is not certain which copy is right: an operator decides by moving the primary"
			}
		}
		ok = ok && c.State == api.CopyOK
		copies = append(copies, c)
	}
	return copies, ok
}

// look asks a copy for its digest, and what it finds on its disk.
func (c *comparisons) look(ctx context.Context, r *replica, m partition.Member, at uint64) sighting {
	s := sighting{member: m}
	q := digestRequest{Partition: r.id, Member: m, At: at, Scan: true}
	if peerOf(m) == c.node.self {
		s.answer, s.err = c.node.digest(ctx, r, q)
	} else {
		s.err = c.post(ctx, m.Node, digestPath, q, &s.answer)
	}
	return s
}

// remake tells a copy that most others and the primary differ from it.
func (c *comparisons) remake(ctx context.Context, part uint32, s sighting, verdict *api.VerifiedCopy) {
	why := fmt.Sprintf("it has %d items with digest %x where the primary and most copies agree on others", s.answer.Count, s.answer.Digest)
	c.node.log.Error("a copy differs from that of the primary and is made anew", "partition", part, "node", s.member.Node, "why", why)
	about := refutation{Partition: part, Member: s.member, Generation: s.answer.Generation, InSync: true, Why: why}
	if err := c.post(ctx, s.member.Node, refutePath, about, nil); err != nil {
		verdict.Remade, verdict.Detail = false, fmt.Sprintf("it could not be told so: %v", err)
	}
}

// digest answers a question about a copy here.
func (n *Node) digest(ctx context.Context, r *replica, q digestRequest) (digestAnswer, error) {
	if err := n.storage.Damaged(r.id); err != nil && q.Scan {
		return digestAnswer{Damage: err.Error()}, nil
	} else if err != nil {
		return digestAnswer{}, err
	}
	wait, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	c, err := r.digestAt(wait, q.At)
	if err != nil {
		return digestAnswer{}, err
	}
	a := digestAnswer{Generation: c.Generation, Epoch: c.Epoch, Count: c.Sum.Count, Digest: c.Sum.Digest}
	if !q.Scan || c.Position == (storage.Position{}) {
		return a, nil
	}
	a.Scanned, err = n.storage.Verify(ctx, r.id)
	if errors.Is(err, storage.ErrCorrupt) {
		a.Damage, err = err.Error(), nil
	}
	return a, err
}
