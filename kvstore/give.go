package kvstore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// SnapshotPath is where a node gives snapshots of its partitions to others:
//
//	POST   ?partition=5&node=b&store=...   holds one, and answers with a heldSnapshot
//	GET    ?pin=...&after=...&bytes=...    answers with the chunk behind a key, 204 at the end
//	PUT    ?pin=...[&taken=true]           goes on holding it, or only the log above it
//	DELETE ?pin=...                        lets go of it
//
// The key is in base64. 410 says that the snapshot is not held (any more), 503
// that no more are given at present, and 409 that the source is damaged.
const SnapshotPath = "/internal/snapshot"

const (
	// clusterHeader names the cluster that the asker is of.
	clusterHeader = "Clusterkit-Cluster"

	maxChunkBytes = 8 << 20
	// partTimeout bounds how long a part of a chunk may take beyond what the
	// rate demands.
	partTimeout = 30 * time.Second
)

// errDamagedSource is returned for a snapshot whose data are damaged where it
// comes from.
var errDamagedSource = errors.New("the data are damaged at the source")

// heldSnapshot is the answer to whoever wants a snapshot.
type heldSnapshot struct {
	Pin    string `json:"pin"`
	Epoch  uint64 `json:"epoch"`
	LSN    uint64 `json:"lsn"`
	Count  uint64 `json:"count"`
	Digest uint64 `json:"digest,string"`
}

// chunkBuffers are what chunks are encoded in.
var chunkBuffers = sync.Pool{New: func() any { return new([]byte) }}

// ServeSnapshot gives snapshots to other nodes, at the rate for copies.
func (n *Node) ServeSnapshot(w http.ResponseWriter, req *http.Request) {
	m := n.cluster.Map()
	if m == nil || req.Header.Get(clusterHeader) != m.ClusterUUID {
		http.Error(w, "this node is of another cluster, or has not joined one", http.StatusForbidden)
		return
	}
	var err error
	switch q := req.URL.Query(); req.Method {
	case http.MethodPost:
		part, parsed := strconv.ParseUint(q.Get("partition"), 10, 32)
		if parsed != nil || n.replica(uint32(part)) == nil {
			http.Error(w, "partition: no such partition here", http.StatusNotFound)
			return
		}
		err = n.holdSnapshot(w, uint32(part), replication.Peer{Node: q.Get("node"), Store: q.Get("store")}, q.Has("urgent"))
	case http.MethodGet:
		after, parsed := base64.RawURLEncoding.DecodeString(q.Get("after"))
		size, parsed2 := strconv.Atoi(q.Get("bytes"))
		if errors.Join(parsed, parsed2) != nil || size < 1 || size > maxChunkBytes {
			http.Error(w, "after is not base64, or bytes is not 1 to 8388608", http.StatusBadRequest)
			return
		}
		err = n.sendChunk(w, req, q.Get("pin"), after, size)
	case http.MethodPut:
		held, done, gone := n.pins.use(q.Get("pin"))
		if err = gone; err == nil {
			if q.Has("taken") {
				n.pins.taken(held)
			}
			done()
		}
	case http.MethodDelete:
		n.pins.letGo(q.Get("pin"))
	default:
		w.Header().Set("Allow", "POST, GET, PUT, DELETE")
		http.Error(w, "use POST, GET, PUT or DELETE", http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		n.log.Info("snapshot not given", "remote", req.RemoteAddr, "err", err)
		http.Error(w, err.Error(), snapshotStatus(err))
	}
}

func snapshotStatus(err error) int {
	switch {
	case errors.Is(err, errPinGone):
		return http.StatusGone
	case errors.Is(err, errDamagedSource), errors.Is(err, storage.ErrCorrupt):
		return http.StatusConflict
	default:
		return http.StatusServiceUnavailable
	}
}

func (n *Node) holdSnapshot(w http.ResponseWriter, part uint32, to replication.Peer, urgent bool) error {
	held, c, err := n.pins.open(part, to, urgent)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(heldSnapshot{held.id, c.Epoch, c.LSN, c.Sum.Count, c.Sum.Digest}); err != nil {
		n.pins.letGo(held.id) // nobody knows of it
	}
	return nil
}

// sendChunk answers with a chunk. If that is cut short, the length that was
// announced tells.
func (n *Node) sendChunk(w http.ResponseWriter, req *http.Request, id string, after []byte, size int) error {
	held, done, err := n.pins.use(id)
	if err != nil {
		return err
	}
	defer done()
	buf, _ := chunkBuffers.Get().(*[]byte)
	defer chunkBuffers.Put(buf)
	*buf, err = held.chunk((*buf)[:0], after, size)
	if errors.Is(err, io.EOF) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(*buf)))
	rc := http.NewResponseController(w)
	for rest := *buf; len(rest) > 0; {
		part := rest[:min(len(rest), n.pace.part())]
		if take(ctx, n.pace.out, len(part)) != nil {
			return nil // the asker sees that it is cut short
		}
		if err := rc.SetWriteDeadline(time.Now().Add(partTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil
		}
		if _, err := w.Write(part); err != nil {
			return nil
		}
		if n.pace.bounded() {
			_ = rc.Flush() // what the rate has let go is not to wait for more
		}
		n.metrics.migrated.out.Add(float64(len(part)))
		held.sent.Add(uint64(len(part)))
		rest = rest[len(part):]
	}
	return nil
}
