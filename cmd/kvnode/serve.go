package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/httpapi"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/resp"
)

const (
	// drainTimeout is how long requests under way may take to end at a stop.
	drainTimeout = 2 * time.Second
	stopTimeout  = 10 * time.Second

	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	healthTimeout     = 3 * time.Second
)

// serve runs the node until the context ends or it cannot go on.
func serve(ctx context.Context, cfg *config, rules planted.Rules, log *slog.Logger) (err error) {
	if err := cfg.options(log).Validate(); err != nil {
		return err
	}
	// Before anything is written: the port is what is most often wrong.
	listener, err := listen("HTTP_ADDR", cfg.HTTPAddr)
	if err != nil {
		return err
	}
	defer listener.Close()
	var respListener net.Listener
	if cfg.RESPAddr != "" {
		if respListener, err = listen("RESP_ADDR", cfg.RESPAddr); err != nil {
			return err
		}
		defer respListener.Close()
	}
	if cfg.PprofAddr != "" {
		profiles, err := serveProfiles(cfg.PprofAddr)
		if err != nil {
			return err
		}
		defer profiles()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	options := cfg.options(log)
	options.Registerer = registry
	ck, err := clusterkit.NewClusterKit(options)
	if err != nil {
		return err
	}
	// A node whose disk failed closes nothing: that takes time, in which its
	// session would live on and nobody could take over, and writes to the disk.
	broken := false
	atEnd := func(do func()) {
		if !broken {
			do()
		}
	}
	defer atEnd(func() {
		stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = errors.Join(err, ck.Shutdown(stop))
	})
	kvDir, err := claimDataDir(cfg.DataDir, ck.Returning())
	if err != nil {
		return err
	}
	node, err := kvstore.Open(kvstore.Options{
		Dir: kvDir, Cluster: ck, ScrubBytesPerSecond: cfg.ScrubBytesPerSecond,
		Migration: cfg.migration(), CollectPerSecond: cfg.CleanupKeysPerSecond, LogRetainBytes: cfg.LogRetainBytes,
		Logger: log, Registerer: registry, Rules: rules,
	})
	if err != nil {
		return err
	}
	defer atEnd(func() { err = errors.Join(err, node.Close()) })
	ck.HandlePartitionChange(node.Migrate)

	router := kvstore.NewRouter(node)
	defer atEnd(router.Close)
	var leaving lameDuck
	server := &http.Server{
		Handler:           leaving.wrap(routes(ck, node, router)),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(ck.EndPolls)
	redis := resp.New(resp.Options{
		Node: cfg.NodeID, Map: ck.Map, Logger: log,
		Turn: func() resp.Turn { return turn{router.NewTurn()} },
	})
	var serving sync.WaitGroup
	served := make(chan error, 2)
	serving.Go(func() { served <- server.Serve(listener) })
	if respListener != nil {
		serving.Go(func() { served <- redis.Serve(respListener) })
	}
	defer atEnd(func() {
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		serving.Go(func() { _ = redis.Shutdown(drain) }) // it ends either way
		if shut := server.Shutdown(drain); shut != nil {
			err = errors.Join(err, server.Close())
		}
		serving.Wait()
	})

	if err := startUntil(ctx, ck); err != nil || ctx.Err() != nil {
		return err
	}
	log.Info("node is listening", "node", cfg.NodeID, "http", cfg.HTTPAddr, "resp", cfg.RESPAddr, "raft", cfg.RaftAddr, "data", cfg.DataDir)
	select {
	case <-ctx.Done():
		log.Info("stopping")
		leaving.begin(ck, node, log)
		return nil
	case <-node.Failed():
		broken = true
		return node.Failure()
	case <-ck.Done():
		if errors.Is(ck.Err(), clusterkit.ErrLeft) {
			log.Info("this node has left the cluster, stopping")
			return nil
		}
		return ck.Err()
	case err := <-served:
		return err
	}
}

// turn makes pipelines what the server takes for such.
type turn struct{ *kvstore.Turn }

func (t turn) NewPipeline(patience time.Duration, tell func()) resp.Pipeline {
	return t.Turn.NewPipeline(patience, tell)
}

// listen takes the address of a setting.
func listen(setting, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w; choose another port, or stop what uses it", setting, err)}
	}
	return l, nil
}

// startUntil starts the control plane. It gives up when the context ends, and
// returns nil then: this is a stop like any other.
func startUntil(ctx context.Context, ck *clusterkit.ClusterKit) error {
	stopped := make(chan error, 1)
	interrupt := context.AfterFunc(ctx, func() {
		stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		stopped <- ck.Shutdown(stop)
	})
	err := ck.Start()
	if interrupt() {
		return err
	}
	if stop := <-stopped; stop != nil || errors.Is(err, clusterkit.ErrStopped) {
		return stop
	}
	return err
}

// claimDataDir returns the directory of the data plane. A node that was part
// of a cluster and lost its data must not take part under that identity:
// others count on what it had.
func claimDataDir(dir string, returning bool) (string, error) {
	kv := filepath.Join(dir, "kv")
	if _, err := os.Stat(kv); returning && errors.Is(err, fs.ErrNotExist) {
		return "", usageError{fmt.Errorf("DATA_DIR: %q is that of a node, but has lost its %q: restore that, or remove the whole directory to rejoin with an empty disk", dir, "kv")}
	}
	if err := os.MkdirAll(kv, 0o700); err != nil {
		return "", fmt.Errorf("DATA_DIR: %w; name another directory or give this user access", err)
	}
	return kv, nil
}

// routes puts the two APIs and the traffic between nodes on one router.
func routes(ck *clusterkit.ClusterKit, node *kvstore.Node, router *kvstore.Router) http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.Handle(replication.Path, node.Replication()).Methods(http.MethodPost)
	r.HandleFunc(kvstore.SnapshotPath, node.ServeSnapshot)
	r.PathPrefix(kvstore.CopiesPath).HandlerFunc(node.ServeCopies).Methods(http.MethodPost)
	httpapi.Register(r, router)
	httpapi.RegisterMigrations(r, node)
	httpapi.RegisterVerify(r, node)
	httpapi.RegisterUnknown(r)
	r.PathPrefix("/").Handler(ck.Handler())
	return r
}

// healthcheck asks the node at addr whether it is alive.
func healthcheck(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usageError{fmt.Errorf("HTTP_ADDR: %q is not host:port", addr)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/livez", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the node is not alive: %w", err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the node is not alive: %s: %s", resp.Status, body)
	}
	return nil
}
