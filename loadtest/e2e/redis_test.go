package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// redisOf returns a Redis Cluster client that knows all nodes.
func redisOf(t *testing.T, c *localcluster.Cluster) *redis.ClusterClient {
	t.Helper()
	var addrs []string
	for _, n := range c.Nodes() {
		addrs = append(addrs, n.RESPAddr)
	}
	cl := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { must(t, "close", cl.Close()) })
	return cl
}

func wantResult[T comparable](t *testing.T, what string, want T) func(T, error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
}

// A client that knows nothing of us finds every key, before and after a
// primary has died.
func TestRedisClient(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	c := startCluster(t, ctx, 3)
	cl := redisOf(t, c)

	t.Run("commands", func(t *testing.T) { redisCommands(t, ctx, cl) })

	const keys = 200
	pipe := cl.Pipeline()
	for i := range keys {
		pipe.Set(ctx, strconv.Itoa(i), "old", 0)
		pipe.Get(ctx, strconv.Itoa(i))
	}
	commands, err := pipe.Exec(ctx)
	must(t, "pipeline", err)
	for i := range keys {
		wantResult(t, "a read behind its write", "old")(commands[2*i+1].(*redis.StringCmd).Result())
	}

	status, err := c.Status(ctx)
	must(t, "status", err)
	victim, err := c.Index(busy(status).Primary)
	must(t, "index", err)
	must(t, "kill", c.Kill9(ctx, victim))
	for i := range keys {
		key := strconv.Itoa(i)
		untilExecuted(t, ctx, "set "+key, func() error { return cl.Set(ctx, key, "new", 0).Err() })
		untilExecuted(t, ctx, "get "+key, func() error {
			got, err := cl.Get(ctx, key).Result()
			if err == nil && got != "new" {
				t.Errorf("get %s: %q after a set was acknowledged", key, got)
			}
			return err
		})
	}
	must(t, "restart", c.Restart(ctx, victim))
	must(t, "wait", c.WaitInSync(ctx))
	for i := range keys {
		wantResult(t, "get", "new")(cl.Get(ctx, strconv.Itoa(i)).Result())
	}
}

// untilExecuted repeats what may be repeated until it succeeds.
func untilExecuted(t *testing.T, ctx context.Context, what string, do func() error) {
	t.Helper()
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func redisCommands(t *testing.T, ctx context.Context, cl *redis.ClusterClient) {
	wantResult(t, "set", "OK")(cl.Set(ctx, "k", "1", time.Hour).Result())
	wantResult(t, "setnx", false)(cl.SetNX(ctx, "k", "2", 0).Result())
	wantResult(t, "incr", int64(42))(cl.IncrBy(ctx, "k", 41).Result())
	wantResult(t, "append", int64(3))(cl.Append(ctx, "k", "!").Result())
	wantResult(t, "getset", "42!")(cl.SetArgs(ctx, "k", "x", redis.SetArgs{Get: true}).Result())
	wantResult(t, "persist", false)(cl.Persist(ctx, "k").Result())
	wantResult(t, "expire", true)(cl.PExpire(ctx, "k", time.Minute).Result())
	if ttl, err := cl.PTTL(ctx, "k").Result(); err != nil || ttl <= 0 || ttl > time.Minute {
		t.Errorf("pttl: %v, %v", ttl, err)
	}
	wantResult(t, "getdel", "x")(cl.GetDel(ctx, "k").Result())
	if _, err := cl.Get(ctx, "k").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("get of what was deleted: %v", err)
	}
	wantResult(t, "mset", "OK")(cl.MSet(ctx, "{tag}1", "x", "{tag}2", "y").Result())
	all, err := cl.MGet(ctx, "{tag}1", "{tag}2", "{tag}3").Result()
	if err != nil || fmt.Sprint(all) != "[x y <nil>]" {
		t.Errorf("mget: %v, %v", all, err)
	}
	wantResult(t, "exists", int64(2))(cl.Exists(ctx, "{tag}1", "{tag}2", "{tag}3").Result())
	wantResult(t, "del", int64(2))(cl.Del(ctx, "{tag}1", "{tag}2").Result())

	commands, err := cl.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "{tag}n", 1, 0)
		p.Incr(ctx, "{tag}n")
		p.Get(ctx, "{tag}n")
		return nil
	})
	must(t, "transaction", err)
	wantResult(t, "get in the transaction", "2")(commands[2].(*redis.StringCmd).Result())

	wantResult(t, "keyslot", int64(clusterkit.Slot("{tag}n")))(cl.ClusterKeySlot(ctx, "{tag}n").Result())
	if info, err := cl.ClusterInfo(ctx).Result(); err != nil || !strings.Contains(info, "cluster_state:ok") {
		t.Errorf("cluster info: %v, %v", info, err)
	}
	shards, err := cl.ClusterShards(ctx).Result()
	if err != nil || len(shards) != 3 || len(shards[0].Nodes) != 1 || shards[0].Nodes[0].Health != "online" {
		t.Errorf("cluster shards: %v, %v", shards, err)
	}
	if nodes, err := cl.ClusterNodes(ctx).Result(); err != nil || strings.Count(nodes, "\n") != 3 {
		t.Errorf("cluster nodes: %v, %v", nodes, err)
	}
}
