package localcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// The test binary is its own kvnode: it is one when it has a NODE_ID.
func TestMain(m *testing.M) {
	if id := os.Getenv("NODE_ID"); id != "" {
		if err := fakeNode(id); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeNode serves a cluster in which everybody is well, and counts its starts
// in its data directory.
func fakeNode(id string) error {
	if os.Getenv("FAKE_BROKEN") == id {
		return errors.New("RAFT_ADDR: address already in use")
	}
	dir := os.Getenv("DATA_DIR")
	counter := filepath.Join(dir, "starts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n, _ := starts(counter)
	if err := os.WriteFile(counter, fmt.Appendf(nil, "%d %d", n+1, os.Getpid()), 0o644); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/consensus/stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"servers": [{"id": "node-1", "voter": true}, {"id": "node-2", "voter": true}, {"id": "node-3", "voter": true}]}`)
	})
	mux.HandleFunc("/cluster", func(w http.ResponseWriter, _ *http.Request) {
		var nodes []client.Node
		for i := range 3 {
			id := fmt.Sprintf("node-%d", i+1)
			n, alive := starts(filepath.Join(filepath.Dir(dir), id, "starts"))
			nodes = append(nodes, client.Node{ID: id, RaftID: id, Incarnation: n, Alive: alive})
		}
		json.NewEncoder(w).Encode(map[string]any{"leader": "node-1", "nodes": nodes, "config": map[string]int{"replication_factor": 3}})
	})
	mux.HandleFunc("/partitions", func(w http.ResponseWriter, _ *http.Request) {
		all := []client.Member{{Node: "node-1"}, {Node: "node-2"}, {Node: "node-3"}}
		json.NewEncoder(w).Encode(map[string]any{
			"partitions": []client.Partition{{ID: "partition-0", Primary: "node-1", Members: all, InSync: all}},
		})
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", os.Getenv("HTTP_ADDR"))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux}
	go func() { <-ctx.Done(); _ = srv.Close() }()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// starts returns how often a node was started, and whether it runs.
func starts(counter string) (n uint64, alive bool) {
	var pid int
	b, _ := os.ReadFile(counter)
	_, _ = fmt.Sscan(string(b), &n, &pid)
	return n, pid != 0 && syscall.Kill(pid, 0) == nil
}
