package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// decode reads a JSON answer with status 200.
func decode(t *testing.T, a answer, into any) {
	t.Helper()
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Fatalf("not JSON with status 200: %+v", a)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

func wantError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	err := json.Unmarshal([]byte(a.body), &body)
	if a.status != status || err != nil || body.Error.Code != code || body.Error.Message == "" {
		t.Errorf("want status %d with code %q and a message, got %d: %.300s", status, code, a.status, a.body)
	}
}

func TestEndpoints(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	c := startCluster(t, ctx, 3, "CLUSTER_NAME=shop", "PARTITION_COUNT=8")
	for _, n := range c.Nodes() {
		t.Run(n.ID, func(t *testing.T) {
			get := func(path string) answer { return request(t, ctx, "GET", "http://"+n.HTTPAddr+path, nil) }

			var cluster struct {
				ClusterName string `json:"cluster_name"`
				ClusterUUID string `json:"cluster_uuid"`
				Version     uint64
				Leader      string
				Config      struct {
					PartitionCount    int `json:"partition_count"`
					ReplicationFactor int `json:"replication_factor"`
					MinInSync         int `json:"min_in_sync"`
				}
				Nodes []struct {
					ID, Name, IP string
					RaftAddr     string `json:"raft_addr"`
					Alive        bool
				}
			}
			decode(t, get("/cluster"), &cluster)
			cfg := cluster.Config
			if cluster.ClusterName != "shop" || cluster.ClusterUUID == "" || cluster.Version == 0 || cluster.Leader == "" ||
				cfg.PartitionCount != 8 || cfg.ReplicationFactor != 3 || cfg.MinInSync != 2 || len(cluster.Nodes) != 3 {
				t.Errorf("/cluster: %+v", cluster)
			}
			for i, want := range c.Nodes() {
				got := cluster.Nodes[i]
				if got.ID != want.ID || got.IP != want.HTTPAddr || got.RaftAddr != want.RaftAddr || got.Name == "" || !got.Alive {
					t.Errorf("/cluster: node %+v, want %s at %s", got, want.ID, want.HTTPAddr)
				}
			}

			var partitions struct {
				Partitions []struct {
					ID, Primary string
					Epoch       uint64
					Members     []any
					InSync      []any `json:"in_sync"`
				}
			}
			decode(t, get("/partitions"), &partitions)
			if len(partitions.Partitions) != 8 {
				t.Fatalf("/partitions: %+v", partitions)
			}
			for _, p := range partitions.Partitions {
				if p.ID == "" || p.Primary == "" || p.Epoch == 0 || len(p.Members) != 3 || len(p.InSync) != 3 {
					t.Errorf("/partitions: %+v", p)
				}
			}

			var key struct {
				Key       string
				Partition struct{ ID string }
				Primary   struct{ ID string }
				Replicas  []struct{ ID string }
			}
			decode(t, get("/partitions/key?key=user%3A1"), &key)
			if key.Key != "user:1" || !strings.HasPrefix(key.Partition.ID, "partition-") || key.Primary.ID == "" || len(key.Replicas) != 2 {
				t.Errorf("/partitions/key: %+v", key)
			}
			wantError(t, get("/partitions/key"), 400, "bad_request")

			for _, path := range []string{"/partitions/stats", "/consensus/leader", "/consensus/stats", "/health", "/health/detailed", "/livez", "/readyz"} {
				var fields map[string]any
				decode(t, get(path), &fields)
				if len(fields) == 0 {
					t.Errorf("%s is empty", path)
				}
			}
			if got := get("/metrics"); got.status != 200 || !strings.Contains(got.body, "# TYPE clusterkit_") {
				t.Errorf("/metrics: %d %.200s", got.status, got.body)
			}
			wantError(t, get("/no/such/endpoint"), 404, "not_found")
			if got := request(t, ctx, "DELETE", "http://"+n.HTTPAddr+"/cluster", nil); got.status != 405 {
				t.Errorf("DELETE /cluster: %+v", got)
			}
		})
	}
}
