//go:build convict

package convict

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
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
			what: "Redis Cluster 7.0, 3 primaries and 3 replicas, replication and persistence as they come", faults: "kill a primary, start it again at once",
			start: startRedis((*redisCluster).restart),
		},
		{
			what: "the same Redis Cluster", faults: "pause a primary until its replica has taken over",
			start: startRedis((*redisCluster).pause),
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

// redisCluster is a suspect of redis-server processes.
type redisCluster struct {
	binary string
	dir    string
	ports  []int
	// nodes are the processes, by port.
	nodes map[int]*exec.Cmd
	// act is what is done to a primary.
	act func(c *redisCluster, ctx context.Context, port int) error
}

const (
	redisNodes = 6
	// standstill is longer than it takes a replica to become a primary.
	standstill = 5 * time.Second
)

func startRedis(act func(*redisCluster, context.Context, int) error) func(context.Context, string) (suspect, error) {
	return func(ctx context.Context, dir string) (suspect, error) {
		c := &redisCluster{dir: dir, nodes: map[int]*exec.Cmd{}, act: act}
		if err := c.create(ctx); err != nil {
			c.close()
			return nil, err
		}
		return c, nil
	}
}

func (c *redisCluster) create(ctx context.Context) error {
	var err error
	if c.binary, err = exec.LookPath("redis-server"); err != nil {
		return err
	}
	create := []string{"--cluster", "create"}
	for range redisNodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		port := l.Addr().(*net.TCPAddr).Port
		c.ports = append(c.ports, port)
		create = append(create, addrOf(port))
		if err := errors.Join(l.Close(), c.run(port)); err != nil {
			return err
		}
	}
	if err := c.eventually(ctx, func(r *redis.Client) bool { return r.Ping(ctx).Err() == nil }); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "redis-cli", append(create, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("redis-cli --cluster create: %w\n%s", err, out)
	}
	return c.heal(ctx)
}

func addrOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// run starts a node on the data that it has. All its settings are those it comes
// with, but that it is told earlier that another one is gone.
func (c *redisCluster) run(port int) error {
	dir := filepath.Join(c.dir, strconv.Itoa(port))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	bus := port + 10000
	if bus > 65535 {
		bus = port - 10000
	}
	cmd := exec.Command(c.binary, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "1500")
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.nodes[port] = cmd
	return nil
}

func (c *redisCluster) kill(port int) {
	if cmd := c.nodes[port]; cmd != nil {
		delete(c.nodes, port)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func (c *redisCluster) close() {
	for _, port := range c.ports {
		c.kill(port)
	}
}

// ask has one question answered by a node.
func (c *redisCluster) ask(ctx context.Context, port int, question func(*redis.Client) bool) bool {
	redis.SetLogger(silent{}) // that nodes are down is no news here
	cl := redis.NewClient(&redis.Options{Addr: addrOf(port), MaxRetries: -1, ReadTimeout: time.Second, Protocol: 2, DisableIdentity: true})
	defer func() { _ = cl.Close() }()
	return ctx.Err() == nil && question(cl)
}

// eventually waits until all nodes answer a question with yes.
func (c *redisCluster) eventually(ctx context.Context, question func(*redis.Client) bool) error {
	for _, port := range c.ports {
		for !c.ask(ctx, port, question) {
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *redisCluster) open(ctx context.Context) (target.Target, error) {
	var endpoints []string
	for _, port := range c.ports {
		endpoints = append(endpoints, addrOf(port))
	}
	return target.Open(ctx, target.RESPCluster, target.Options{Endpoints: endpoints, Timeout: standstill + opTimeout})
}

func (c *redisCluster) hurt(ctx context.Context, _ int) error {
	if err := pause(ctx, undisturbed); err != nil {
		return err
	}
	for _, port := range c.ports {
		if c.ask(ctx, port, func(r *redis.Client) bool { return strings.Contains(r.Info(ctx, "replication").Val(), "role:master") }) {
			return errors.Join(c.act(c, ctx, port), pause(ctx, undisturbed))
		}
	}
	return fmt.Errorf("no node of the Redis cluster is a primary")
}

func (c *redisCluster) restart(_ context.Context, port int) error {
	c.kill(port)
	return c.run(port)
}

func (c *redisCluster) pause(ctx context.Context, port int) error {
	process := c.nodes[port].Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(pause(ctx, standstill), process.Signal(syscall.SIGCONT))
}

func (c *redisCluster) heal(ctx context.Context) error {
	return c.eventually(ctx, func(r *redis.Client) bool {
		cluster, replication := r.ClusterInfo(ctx).Val(), r.Info(ctx, "replication").Val()
		return strings.Contains(cluster, "cluster_state:ok") && strings.Contains(cluster, "cluster_known_nodes:6") &&
			(strings.Contains(replication, "connected_slaves:1") || strings.Contains(replication, "master_link_status:up"))
	})
}

func (c *redisCluster) finish(*check.Verdict) error { return nil }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
