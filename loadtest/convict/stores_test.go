//go:build convict

package convict

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// stores are known to lose what they have acknowledged, as they are configured.
func stores(binary string) []charge {
	return []charge{
		{
			what: "a kvnode cluster with one copy of each partition", faults: "kill a primary and wipe its disk, accept the data loss",
			start: func(ctx context.Context, dir string) (suspect, error) {
				return startCluster(ctx, binary, dir, []act{wipe}, "REPLICATION_FACTOR=1", "MIN_IN_SYNC=1")
			},
		},
		{
			what: "one Redis 7.0 server, persistence as it comes: snapshots, and no log", faults: "kill it, start it again at once",
			start: startRedis(1, (*redisServers).restart),
		},
		{
			what: "Redis Cluster 7.0, 3 primaries and 3 replicas, replication and persistence as they come", faults: "kill a primary, start it again at once",
			start: startRedis(redisNodes, (*redisServers).restart),
		},
		{
			what: "the same Redis Cluster", faults: "pause a primary until its replica has taken over",
			start: startRedis(redisNodes, (*redisServers).pause),
		},
	}
}

// wipe takes the disk of a node other than the founder, and has its partitions
// begin empty.
func wipe(ctx context.Context, c *localcluster.Cluster) error {
	const victim = 1
	node := c.Nodes()[victim]
	if err := c.Kill9(ctx, victim); err != nil {
		return err
	}
	if err := c.Wipe(victim); err != nil {
		return err
	}
	if err := c.Restart(ctx, victim); err != nil {
		return err
	}
	for ctx.Err() == nil {
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		lost := 0
		for _, p := range status.Partitions {
			if p.Primary == "" {
				lost++
				if err := accept(ctx, c.Nodes()[0].HTTPAddr, node.ID, p); err != nil {
					return err
				}
			}
		}
		if lost == 0 && serves(ctx, c) {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// serves reports whether all partitions are served. That the map shows a primary
// of each is not enough: it may not have heard of the loss.
func serves(ctx context.Context, c *localcluster.Cluster) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return c.WaitReady(ctx) == nil
}

// accept has a partition served from the empty copy on a node, if it has been
// given one already.
func accept(ctx context.Context, addr, node string, p client.Partition) error {
	body := fmt.Sprintf(`{"node":%q,"epoch":%d}`, node, p.Epoch)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/partitions/"+p.ID+"/accept-data-loss", strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
