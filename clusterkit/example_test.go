package clusterkit_test

import (
	"crypto/subtle"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

func Example() {
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID:    "node-1",
		NodeName:  "Server-1",
		HTTPAddr:  ":8080",
		RaftAddr:  "127.0.0.1:9001",
		Bootstrap: true,
		DataDir:   "./data",
		Config: &clusterkit.Config{
			ClusterName:       "my-app",
			PartitionCount:    16,
			ReplicationFactor: 3,
		},
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
		for _, replica := range ck.GetReplicas(partition) {
			fmt.Println("send it to", replica.IP)
		}
	}
}

// The application serves the API itself, to those who know a token. Nodes that
// join and return have none.
func ExampleClusterKit_Handler() {
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID: "node-1", HTTPAddr: "10.0.0.1:8080", RaftAddr: "10.0.0.1:9001", DataDir: "./data",
		Bootstrap: true, ExternalHTTP: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer ck.Stop()
	api := ck.Handler()
	known := func(r *http.Request) bool {
		token := []byte("Bearer " + os.Getenv("ADMIN_TOKEN"))
		fromNode := r.URL.Path == "/cluster/join" || r.URL.Path == "/cluster/announce"
		return fromNode || subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), token) == 1
	}
	server := &http.Server{
		Addr:              "10.0.0.1:8080",
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !known(r) {
				http.Error(w, "unauthenticated", http.StatusUnauthorized)
				return
			}
			api.ServeHTTP(w, r)
		}),
	}
	server.RegisterOnShutdown(ck.EndPolls)
	go func() { log.Print(server.ListenAndServe()) }()
	if err := ck.Start(); err != nil {
		log.Fatal(err)
	}
}
