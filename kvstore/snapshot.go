package kvstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// SnapshotPath is where a node gives snapshots of its partitions to others.
const SnapshotPath = "/internal/snapshot"

const (
	snapshotChunk = 256 << 10
	maxChunkBytes = 8 << 20
	// fetchTimeout bounds how long one chunk may take.
	fetchTimeout = 30 * time.Second
	maxFetches   = 2
	// pinAfter is how long the log above a snapshot is kept after it was sent.
	pinAfter = time.Minute
	// clusterHeader names the cluster that the asker is of.
	clusterHeader = "Clusterkit-Cluster"
)

// A snapshot is the position that it was taken at, as two 8-byte numbers
// (epoch, LSN); chunks, each a 4-byte length and what storage encodes; and a
// length of zero with the number and the digest of all items, 8 bytes each:
// without that the stream was cut.

// ServeSnapshot streams a snapshot of a partition to another node. The log
// above it is kept until it has been sent.
func (n *Node) ServeSnapshot(w http.ResponseWriter, req *http.Request) {
	m := n.cluster.Map()
	if m == nil || req.Header.Get(clusterHeader) != m.ClusterUUID {
		http.Error(w, "this node is of another cluster, or has not joined one", http.StatusForbidden)
		return
	}
	part, err := strconv.ParseUint(req.URL.Query().Get("partition"), 10, 32)
	if err != nil || n.replica(uint32(part)) == nil {
		http.Error(w, "partition: no such partition here", http.StatusNotFound)
		return
	}
	if err := n.sendSnapshot(w, uint32(part)); err != nil {
		n.log.Warn("snapshot not sent", "partition", part, "remote", req.RemoteAddr, "err", err)
		panic(http.ErrAbortHandler) // cuts the connection: the stream has no end mark
	}
}

func (n *Node) sendSnapshot(w http.ResponseWriter, part uint32) error {
	have, _ := n.storage.Checkpoint(part)
	release := n.commitLog.log.Pin(part, have.LSN)
	// The taker has to catch up from here; it may not have begun yet.
	defer time.AfterFunc(pinAfter, release)
	snap, err := n.storage.Snapshot(part)
	if err != nil {
		return err
	}
	defer snap.Close()
	c := snap.Checkpoint()
	at := c.Position

	rc := http.NewResponseController(w)
	buf := binary.LittleEndian.AppendUint64(nil, at.Epoch)
	buf = binary.LittleEndian.AppendUint64(buf, at.LSN)
	for {
		items, err := snap.Next(snapshotChunk)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		mark := len(buf)
		buf = append(buf, 0, 0, 0, 0)
		if err == nil {
			buf = storage.AppendChunk(buf, items)
			binary.LittleEndian.PutUint32(buf[mark:], uint32(len(buf)-mark-4))
		} else {
			buf = binary.LittleEndian.AppendUint64(buf, c.Sum.Count)
			buf = binary.LittleEndian.AppendUint64(buf, c.Sum.Digest)
		}
		if err := rc.SetWriteDeadline(time.Now().Add(fetchTimeout)); err != nil {
			return err
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		if err != nil {
			return nil
		}
		buf = buf[:0]
	}
}

// fetches are the snapshots that this node is fetching.
type fetches struct {
	node  *Node
	ctx   context.Context
	slots chan struct{}
	http  *http.Client
	wg    sync.WaitGroup
}

func newFetches(ctx context.Context, n *Node) *fetches {
	return &fetches{
		node: n, ctx: ctx, slots: make(chan struct{}, maxFetches),
		http: &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: fetchTimeout, DisableKeepAlives: true}},
	}
}

// begin fetches a snapshot in a goroutine; the caller holds the replica's
// lock.
func (f *fetches) begin(r *replica, from partition.Member) {
	f.wg.Go(func() {
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		case <-f.ctx.Done():
			return
		}
		loader, at, err := f.fetch(r, from)
		if err != nil {
			f.node.log.Warn("snapshot not fetched", "partition", r.id, "from", from.Node, "err", err)
			r.do(func(sm *partition.Replica) { sm.SnapshotFailed() })
			return
		}
		var taken atomic.Bool
		done := make(chan struct{})
		f.node.applier.between(r, func() {
			if !taken.Swap(true) {
				f.install(r, loader, at)
			}
			close(done)
		})
		select {
		case <-done:
		case <-f.ctx.Done():
			if taken.Swap(true) {
				<-done
			} else {
				loader.Abort()
			}
		}
	})
}

// fetch reads a snapshot into a new generation of the partition's data.
func (f *fetches) fetch(r *replica, from partition.Member) (*storage.Loader, partition.Position, error) {
	var at partition.Position
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stalled := time.AfterFunc(fetchTimeout, cancel)
	defer stalled.Stop()
	m := f.node.cluster.Map()
	node := m.Node(from.Node)
	if node == nil {
		return nil, at, fmt.Errorf("node %s is not in the map", from.Node)
	}
	url := fmt.Sprintf("http://%s%s?partition=%d", node.IP, SnapshotPath, r.id)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, at, err
	}
	req.Header.Set(clusterHeader, m.ClusterUUID)
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, at, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, at, fmt.Errorf("%s answered %s", node.IP, resp.Status)
	}
	var head [16]byte
	if _, err := io.ReadFull(resp.Body, head[:]); err != nil {
		return nil, at, err
	}
	at = partition.Position{Epoch: binary.LittleEndian.Uint64(head[:]), LSN: binary.LittleEndian.Uint64(head[8:])}
	loader, err := f.node.storage.Load(r.id)
	if err != nil {
		return nil, at, err
	}
	if err := load(loader, resp.Body, func() { stalled.Reset(fetchTimeout) }); err != nil {
		loader.Abort()
		return nil, at, err
	}
	return loader, at, nil
}

// load reads chunks until the end mark and holds what has arrived to it.
func load(l *storage.Loader, body io.Reader, progress func()) error {
	for {
		items, err := readChunk(body)
		if err != nil {
			return err
		}
		if items == nil {
			break
		}
		if err := l.Add(items); err != nil {
			return err
		}
		progress()
	}
	var end [16]byte
	if _, err := io.ReadFull(body, end[:]); err != nil {
		return fmt.Errorf("the stream was cut: %w", err)
	}
	want := storage.Sum{Count: binary.LittleEndian.Uint64(end[:]), Digest: binary.LittleEndian.Uint64(end[8:])}
	if got := l.Sum(); got != want {
		return fmt.Errorf("the copy has %d items with digest %x, the source %d with %x", got.Count, got.Digest, want.Count, want.Digest)
	}
	return nil
}

// readChunk returns the items of the next chunk, nil at the end mark.
func readChunk(r io.Reader) ([]storage.Item, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("the stream was cut: %w", err)
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size == 0 {
		return nil, nil
	}
	if size > maxChunkBytes {
		return nil, fmt.Errorf("chunk of %d bytes, at most %d are allowed", size, maxChunkBytes)
	}
	// What the source claims is allocated as it arrives.
	var buf bytes.Buffer
	if _, err := io.CopyN(&buf, r, int64(size)); err != nil {
		return nil, fmt.Errorf("the stream was cut: %w", err)
	}
	return storage.DecodeChunk(buf.Bytes())
}

// install makes the loaded data the partition's. The applier calls it, so
// that nothing that was committed before is applied over it.
func (f *fetches) install(r *replica, loader *storage.Loader, at partition.Position) {
	n := f.node
	if have, _ := n.storage.Checkpoint(r.id); at.LSN <= have.LSN || n.replica(r.id) != r {
		loader.Abort()
		r.do(func(sm *partition.Replica) { sm.SnapshotFailed() })
		return
	}
	if err := loader.Commit(storage.Position(at)); err != nil {
		n.fail(err)
		return
	}
	r.overlay.clear()
	r.do(func(sm *partition.Replica) { sm.SnapshotLoaded(at) })
	n.log.Info("snapshot loaded", "partition", r.id, "lsn", at.LSN)
}
