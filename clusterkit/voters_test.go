package clusterkit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// votersSeenBy returns the nodes that vote in Raft, in the eyes of a node.
func votersSeenBy(t *testing.T, c *clustertest.Cluster, node string) (ids []string) {
	t.Helper()
	var raft struct {
		Servers []struct {
			ID    string
			Voter bool
		}
	}
	answer := httptest.NewRecorder()
	c.Node(node).Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/consensus/stats", nil))
	if err := json.Unmarshal(answer.Body.Bytes(), &raft); err != nil {
		t.Fatal(err)
	}
	for _, s := range raft.Servers {
		if s.Voter {
			id, _, _ := strings.Cut(s.ID, "/")
			ids = append(ids, id)
		}
	}
	return ids
}

// TestNodesBeyondFiveReplaceLostVoters loses four of seven nodes, more than a
// cluster survives in which the first five vote for ever.
func TestNodesBeyondFiveReplaceLostVoters(t *testing.T) {
	config := clustertest.Config{Nodes: 7, Timeout: 5 * time.Minute}
	inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
		for range 4 {
			leader := c.Leader()
			var voters []string
			c.Eventually("five voters, as many of them up as there can be", func() bool {
				voters = votersSeenBy(t, c, leader)
				up := 0
				for _, node := range c.Nodes() {
					if slices.Contains(voters, node.GetMyNodeID()) {
						up++
					}
				}
				return len(voters) == 5 && up == min(5, len(c.Nodes()))
			})
			c.Kill(leader)
			c.WaitHealthy()
		}
	})
}
