package kvstore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// askTimeout bounds a request that is answered at once.
const askTimeout = 10 * time.Second

// source asks one node for the snapshot of one partition.
type source struct {
	node      *Node
	http      *http.Client
	peer      replication.Peer
	partition uint32
	// heard is called whenever a part of a chunk has come.
	heard func()
}

var (
	// errUnreachable is returned when the source does not answer as it should;
	// it may yet.
	errUnreachable = errors.New("the source does not answer")
	// errSpoilt is returned for a chunk that did not arrive as it was sent.
	errSpoilt = errors.New("a chunk was spoilt on its way")
)

// ask sends a request, whose answer the caller closes. The errors wrap
// errUnreachable, errPinGone, errBusy or errDamagedSource.
func (s *source) ask(ctx context.Context, method string, query url.Values) (*http.Response, error) {
	m := s.node.cluster.Map()
	n := m.Node(s.peer.Node)
	if n == nil || n.Store != s.peer.Store {
		return nil, fmt.Errorf("%w: %s is not in the cluster with that disk", errPinGone, s.peer.Node)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.IP+SnapshotPath+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set(clusterHeader, m.ClusterUUID)
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	resp.Body.Close()
	kind := errUnreachable
	switch resp.StatusCode {
	case http.StatusGone:
		kind = errPinGone
	case http.StatusServiceUnavailable:
		kind = errBusy
	case http.StatusConflict:
		kind = errDamagedSource
	}
	return nil, fmt.Errorf("%w: %s answered %s: %s", kind, s.peer.Node, resp.Status, strings.TrimSpace(string(text)))
}

// present reports whether the map shows the source alive.
func (s *source) present() bool {
	n := s.node.cluster.Map().Node(s.peer.Node)
	return n != nil && n.Alive && n.Store == s.peer.Store
}

// hold has the source hold a snapshot and returns where it comes from.
func (s *source) hold(ctx context.Context, urgent bool) (storage.Origin, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	query := url.Values{
		"partition": {strconv.FormatUint(uint64(s.partition), 10)},
		"node":      {s.node.self.Node}, "store": {s.node.self.Store},
	}
	if urgent {
		query.Set("urgent", "true")
	}
	resp, err := s.ask(ctx, http.MethodPost, query)
	if err != nil {
		return storage.Origin{}, err
	}
	defer resp.Body.Close()
	var h heldSnapshot
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&h); err != nil {
		return storage.Origin{}, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return storage.Origin{
		Node: s.peer.Node, Store: s.peer.Store, Pin: h.Pin,
		Base: storage.Position{Epoch: h.Epoch, LSN: h.LSN}, Sum: storage.Sum{Count: h.Count, Digest: h.Digest},
	}, nil
}

// keep has the source go on holding a snapshot, or with taken only the log.
func (s *source) keep(ctx context.Context, pin string, taken bool) error {
	query := url.Values{"pin": {pin}}
	if taken {
		query.Set("taken", "true")
	}
	return s.tell(ctx, http.MethodPut, query)
}

// letGo ends a snapshot. If that does not arrive, it ends by itself.
func (s *source) letGo(ctx context.Context, pin string) {
	_ = s.tell(ctx, http.MethodDelete, url.Values{"pin": {pin}})
}

func (s *source) tell(ctx context.Context, method string, query url.Values) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := s.ask(ctx, method, query)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// chunk reads the chunk behind a key into buf, and returns its items, which
// point into it; none at the end. Beside the errors of ask, they wrap
// errSpoilt.
func (s *source) chunk(ctx context.Context, pin string, after, buf []byte) ([]storage.Item, []byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stalled := time.AfterFunc(partTimeout, cancel)
	defer stalled.Stop()
	resp, err := s.ask(ctx, http.MethodGet, url.Values{
		"pin": {pin}, "after": {base64.RawURLEncoding.EncodeToString(after)},
		"bytes": {strconv.Itoa(s.node.pace.chunkBytes())},
	})
	if err != nil {
		return nil, buf, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil, buf, nil
	}
	buf, err = s.read(ctx, resp, buf[:0], stalled)
	if err != nil {
		return nil, buf, fmt.Errorf("%w: a chunk was cut short: %w", errUnreachable, err)
	}
	items, err := storage.DecodeChunk(buf)
	if err != nil || len(items) == 0 {
		return nil, buf, fmt.Errorf("%w: %w", errSpoilt, err)
	}
	return items, buf, nil
}

// read reads the body at the rate for copies. What is announced is allocated as
// it arrives.
func (s *source) read(ctx context.Context, resp *http.Response, buf []byte, stalled *time.Timer) ([]byte, error) {
	pace := s.node.pace
	if resp.ContentLength > maxChunkBytes {
		return buf, fmt.Errorf("%d bytes, at most %d are allowed", resp.ContentLength, maxChunkBytes)
	}
	for {
		part := pace.part()
		if cap(buf)-len(buf) < part {
			grown := make([]byte, len(buf), max(2*cap(buf), len(buf)+part))
			buf = grown[:copy(grown, buf)]
		}
		n, err := io.ReadAtLeast(resp.Body, buf[len(buf):len(buf)+part], 1)
		buf = buf[:len(buf)+n]
		s.node.metrics.migrated.in.Add(float64(n))
		s.heard()
		if taken := take(ctx, pace.in, n); taken != nil {
			return buf, taken
		}
		stalled.Reset(partTimeout)
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) > maxChunkBytes:
			return buf, fmt.Errorf("more than %d bytes", maxChunkBytes)
		}
	}
}
