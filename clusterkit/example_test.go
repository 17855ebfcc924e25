package clusterkit_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// A cluster of one node, which is the primary of every partition.
func Example() {
	dir, err := os.MkdirTemp("", "clusterkit-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID:    "node-1",
		NodeName:  "Server-1",
		HTTPAddr:  ":0", // any free port; usually one that others know, such as ":8080"
		RaftAddr:  "127.0.0.1:0",
		Bootstrap: true,
		DataDir:   dir,
		Config: &clusterkit.Config{
			ClusterName:       "my-app",
			PartitionCount:    16,
			ReplicationFactor: 3,
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	ck.OnPartitionChange(func(partitionID string, copyFrom, copyTo *clusterkit.Node) {
		if copyTo.ID == ck.GetMyNodeID() && copyFrom != nil {
			fmt.Println("copying", partitionID, "from", copyFrom.IP)
		}
	})
	if err := ck.Start(); err != nil {
		log.Fatal(err)
	}
	defer ck.Stop()

	partition, err := ck.GetPartition("user:123")
	if err != nil {
		log.Fatal(err)
	}
	if ck.IsPrimary(partition) {
		fmt.Println("store it in", partition.ID)
		for _, replica := range ck.GetReplicas(partition) {
			fmt.Println("send it to", replica.IP)
		}
	}
	// Output: store it in partition-11
}

// Whoever follows the map sees each change of it, or a newer one.
func ExampleClusterKit_Watch() {
	dir, err := os.MkdirTemp("", "clusterkit-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID: "node-1", HTTPAddr: ":0", RaftAddr: "127.0.0.1:0", DataDir: dir,
		Bootstrap: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := ck.Start(); err != nil {
		log.Fatal(err)
	}
	defer ck.Stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() { _ = ck.SetMetadata(ctx, "schema", "2") }()
	for m := range ck.Watch(ctx) {
		if schema, ok := m.Metadata["schema"]; ok {
			fmt.Println("the schema is", schema)
			break
		}
	}
	// Output: the schema is 2
}

// The application serves the API itself, to those who know a token. Nodes that
// join and return have none.
func ExampleClusterKit_Handler() {
	dir, err := os.MkdirTemp("", "clusterkit-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID: "node-1", HTTPAddr: listener.Addr().String(), RaftAddr: "127.0.0.1:0", DataDir: dir,
		Bootstrap: true, ExternalHTTP: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer ck.Stop()
	api := ck.Handler()
	known := func(r *http.Request) bool {
		token := []byte("Bearer secret")
		fromNode := r.URL.Path == "/cluster/join" || r.URL.Path == "/cluster/announce"
		return fromNode || subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), token) == 1
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !known(r) {
				http.Error(w, "unauthenticated", http.StatusUnauthorized)
				return
			}
			api.ServeHTTP(w, r)
		}),
	}
	defer server.Close()
	server.RegisterOnShutdown(ck.EndPolls)
	go func() { _ = server.Serve(listener) }()
	if err := ck.Start(); err != nil {
		log.Fatal(err)
	}

	for _, token := range []string{"", "secret"} {
		req, err := http.NewRequest(http.MethodGet, "http://"+ck.Self().IP+"/cluster", nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// 401 Unauthorized
	// 200 OK
}
