package kvstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// CopiesPath is where a node answers what others want to know of its copies.
const CopiesPath = "/internal/copies/"

const (
	digestPath = CopiesPath + "digest"
	refutePath = CopiesPath + "refute"

	// compareTimeout bounds a comparison.
	compareTimeout = 5 * time.Second
	maxComparisons = 16
	maxCopyRequest = 4 << 10
)

// outcomes are those of comparisons, by verdict.
var outcomes = [...]string{partition.Undecided: "undecided", partition.Equal: "equal", partition.Different: "different"}

// digestRequest asks for the digest of a copy behind the entry At.
type digestRequest struct {
	Partition uint32           `json:"partition"`
	Member    partition.Member `json:"member"`
	At        uint64           `json:"at"`
	// Scan asks to hold what is on the disk against it.
	Scan bool `json:"scan,omitempty"`
}

// digestAnswer is that digest, and which data it is of.
type digestAnswer struct {
	Generation uint64 `json:"generation"`
	Epoch      uint64 `json:"epoch"`
	Count      uint64 `json:"count"`
	Digest     uint64 `json:"digest"`
	// Scanned bytes were read, and Damage is what was found.
	Scanned uint64 `json:"scanned,omitempty"`
	Damage  string `json:"damage,omitempty"`
}

// refutation says that data are not what they ought to be.
type refutation struct {
	Partition  uint32           `json:"partition"`
	Member     partition.Member `json:"member"`
	Generation uint64           `json:"generation"`
	// InSync: also if the member is in-sync. Most others that are agree.
	InSync bool   `json:"in_sync,omitempty"`
	Why    string `json:"why"`
}

// comparisons compare the copies of learners with those of this node, which
// leads their partitions.
type comparisons struct {
	node  *Node
	ctx   context.Context
	slots chan struct{}
	http  *http.Client
	wg    sync.WaitGroup

	mu sync.Mutex
	// refuted are copies that were found different and may not know it.
	refuted map[copyKey]refutation
}

type copyKey struct {
	partition uint32
	member    partition.Member
}

func newComparisons(ctx context.Context, n *Node) *comparisons {
	return &comparisons{
		node: n, ctx: ctx, slots: make(chan struct{}, maxComparisons),
		http:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}},
		refuted: map[copyKey]refutation{},
	}
}

func (c *comparisons) close() {
	c.wg.Wait()
	c.http.CloseIdleConnections()
}

// begin compares in a goroutine; the caller holds the replica's lock.
func (c *comparisons) begin(r *replica, v partition.Verify) {
	c.wg.Go(func() {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-c.ctx.Done():
			return
		}
		verdict, err := c.compare(r, v)
		if c.ctx.Err() != nil {
			return
		}
		if err != nil {
			c.node.log.Warn("a copy could not be compared with that of the primary", "partition", r.id, "node", v.Member.Node, "lsn", v.At, "err", err)
		}
		c.node.metrics.compared.WithLabelValues(outcomes[verdict]).Inc()
		r.do(func(sm *partition.Replica) { sm.Verified(v, verdict) })
	})
}

func (c *comparisons) compare(r *replica, v partition.Verify) (partition.Verdict, error) {
	if err := c.node.storage.Damaged(r.id); err != nil {
		// It proves nothing against another copy, which may be the one that takes
		// over from it.
		c.node.log.Warn("a copy is taken without comparison, since that of the primary is damaged", "partition", r.id, "node", v.Member.Node)
		return partition.Equal, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, compareTimeout)
	defer cancel()
	own, err := r.digestAt(ctx, v.At)
	if err != nil {
		return partition.Undecided, err
	}
	var other digestAnswer
	if err := c.post(ctx, v.Member.Node, digestPath, digestRequest{Partition: r.id, Member: v.Member, At: v.At}, &other); err != nil {
		return partition.Undecided, err
	}
	got := storage.Sum{Count: other.Count, Digest: other.Digest}
	if got == own.Sum {
		return partition.Equal, nil
	}
	why := fmt.Sprintf("at %d.%d the copy on %s has %d items with digest %x, the primary %d with %x",
		own.Epoch, own.LSN, v.Member.Node, got.Count, got.Digest, own.Sum.Count, own.Sum.Digest)
	c.node.log.Error("a copy differs from that of the primary and is made anew", "partition", r.id, "node", v.Member.Node, "why", why)
	c.mu.Lock()
	c.refuted[copyKey{r.id, v.Member}] = refutation{Partition: r.id, Member: v.Member, Generation: other.Generation, Why: why}
	c.mu.Unlock()
	return partition.Different, nil
}

// refuse tells a member that its copy was found different, unless it knows.
func (c *comparisons) refuse(part uint32, m partition.Member) {
	c.mu.Lock()
	about, ok := c.refuted[copyKey{part, m}]
	c.mu.Unlock()
	if !ok {
		return
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, compareTimeout)
		defer cancel()
		if err := c.post(ctx, m.Node, refutePath, about, nil); err != nil {
			c.node.log.Debug("a copy that differs was not told so", "partition", part, "node", m.Node, "err", err)
			return
		}
		c.mu.Lock()
		delete(c.refuted, copyKey{part, m})
		c.mu.Unlock()
	})
}

// post asks a node about its copies.
func (c *comparisons) post(ctx context.Context, node, path string, question, answer any) error {
	m := c.node.cluster.Map()
	to := m.Node(node)
	if to == nil {
		return fmt.Errorf("node %s is not in the map", node)
	}
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.IP+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set(clusterHeader, m.ClusterUUID)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, maxCopyRequest))
		return fmt.Errorf("%s answered %s: %s", to.IP, resp.Status, bytes.TrimSpace(why))
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxCopyRequest)).Decode(answer)
}

// ServeCopies answers the questions of other nodes under [CopiesPath].
func (n *Node) ServeCopies(w http.ResponseWriter, req *http.Request) {
	m := n.cluster.Map()
	if m == nil || req.Header.Get(clusterHeader) != m.ClusterUUID {
		http.Error(w, "this node is of another cluster, or has not joined one", http.StatusForbidden)
		return
	}
	req.Body = http.MaxBytesReader(w, req.Body, maxCopyRequest)
	switch req.URL.Path {
	case digestPath:
		n.serveDigest(w, req)
	case refutePath:
		n.serveRefutation(w, req)
	default:
		http.Error(w, "there is no such question", http.StatusNotFound)
	}
}

func (n *Node) serveDigest(w http.ResponseWriter, req *http.Request) {
	var q digestRequest
	if err := json.NewDecoder(req.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r := n.copyOf(q.Partition, q.Member)
	if r == nil {
		http.Error(w, "there is no such copy here", http.StatusNotFound)
		return
	}
	n.migrations.compared(q.Partition)
	a, err := n.digest(req.Context(), r, q)
	switch {
	case errors.Is(err, storage.ErrCorrupt):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, errForgotten):
		http.Error(w, err.Error(), http.StatusGone)
	case err != nil:
		http.Error(w, fmt.Sprintf("there is no digest behind entry %d: %v", q.At, err), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		// A failed write closes the connection, and the asker sees that.
		_ = json.NewEncoder(w).Encode(a)
	}
}

// serveRefutation has a copy made anew: from here on it is as if this node had
// found the damage. A member that is in-sync is not given up on the word of one.
func (n *Node) serveRefutation(w http.ResponseWriter, req *http.Request) {
	var q refutation
	if err := json.NewDecoder(req.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r := n.copyOf(q.Partition, q.Member)
	if r == nil {
		http.Error(w, "there is no such copy here", http.StatusNotFound)
		return
	}
	inSync := false
	r.do(func(sm *partition.Replica) { inSync = slices.Contains(sm.View().InSync, q.Member) })
	if inSync && !q.InSync {
		http.Error(w, "the copy is in-sync", http.StatusConflict)
		return
	}
	n.storage.Condemn(q.Partition, q.Generation, q.Why)
	w.WriteHeader(http.StatusNoContent)
}

// copyOf returns the replica that is exactly this member, nil if none is.
func (n *Node) copyOf(part uint32, m partition.Member) *replica {
	r := n.replica(part)
	if r == nil {
		return nil
	}
	same := false
	r.do(func(sm *partition.Replica) { same = sm.Self() == m && !r.released })
	if !same {
		return nil
	}
	return r
}
