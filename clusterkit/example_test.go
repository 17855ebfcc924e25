package clusterkit_test

import (
	"fmt"
	"log"

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
