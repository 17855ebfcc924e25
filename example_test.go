package clusterkit_test

import (
	"fmt"
	"log"
	"os"

	"github.com/skshohagmiah/clusterkit"
)

// A cluster of one node, and where it puts a key.
func Example() {
	dir, err := os.MkdirTemp("", "clusterkit-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
		NodeID:    "node-1",
		NodeName:  "Server-1",
		HTTPAddr:  ":0",
		RaftAddr:  "127.0.0.1:0",
		Bootstrap: true,
		DataDir:   dir,
		Config: &clusterkit.Config{
			ClusterName:       "my-app",
			PartitionCount:    16,
			ReplicationFactor: 3,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := ck.Start(); err != nil {
		log.Fatal(err)
	}
	defer ck.Stop()

	partition, err := ck.GetPartition("user:123")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(partition.ID, "is on", ck.GetPrimary(partition).Name)
	fmt.Println("replicas:", len(ck.GetReplicas(partition)), "copies:", len(ck.GetNodes(partition)))
	// Output:
	// partition-11 is on Server-1
	// replicas: 0 copies: 1
}
