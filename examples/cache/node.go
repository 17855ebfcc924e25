package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// run is one node, until the context ends.
func run(ctx context.Context, getenv func(string) string, stderr io.Writer) error {
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID:        getenv("NODE_ID"),
		NodeName:      getenv("NODE_NAME"),
		HTTPAddr:      getenv("HTTP_ADDR"),
		RaftAddr:      getenv("RAFT_ADDR"),
		JoinAddr:      getenv("JOIN_ADDR"),
		Bootstrap:     getenv("BOOTSTRAP") == "true",
		DataDir:       getenv("DATA_DIR"),
		VolatileStore: true, // the values are in memory
		ExternalHTTP:  true, // they are served beside the endpoints of clusterkit
		Logger:        slog.New(slog.NewTextHandler(stderr, nil)),
	})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newCache(ck, &http.Transport{MaxIdleConnsPerHost: 64}).routes(), ReadHeaderTimeout: 5 * time.Second}
	listener, err := net.Listen("tcp", ck.Self().IP)
	if err != nil {
		return errors.Join(err, ck.Stop())
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err = ck.Start(); err == nil {
		select {
		case <-ctx.Done():
		case <-ck.Done():
			err = ck.Err()
		case err = <-served:
		}
	}
	return errors.Join(err, ck.Stop(), server.Close())
}
