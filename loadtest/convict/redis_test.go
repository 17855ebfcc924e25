//go:build convict

package convict

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// redisServers is a suspect of redis-server processes: a cluster, or one by itself.
type redisServers struct {
	binary string
	dir    string
	// clustered servers share the keys.
	clustered bool
	ports     []int
	// nodes are the processes, by port.
	nodes map[int]*exec.Cmd
	// act is what is done to a primary.
	act func(c *redisServers, ctx context.Context, port int) error
}

const (
	// redisNodes is how many a cluster has.
	redisNodes = 6
	// standstill is longer than it takes a replica to become a primary.
	standstill = 5 * time.Second
)

func startRedis(nodes int, act func(*redisServers, context.Context, int) error) func(context.Context, string) (suspect, error) {
	return func(ctx context.Context, dir string) (suspect, error) {
		c := &redisServers{dir: dir, clustered: nodes > 1, nodes: map[int]*exec.Cmd{}, act: act}
		if err := c.create(ctx, nodes); err != nil {
			c.close()
			return nil, err
		}
		return c, nil
	}
}

func (c *redisServers) create(ctx context.Context, nodes int) error {
	var err error
	if c.binary, err = exec.LookPath("redis-server"); err != nil {
		return err
	}
	create := []string{"--cluster", "create"}
	for range nodes {
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
	if !c.clustered {
		return nil
	}
	out, err := exec.CommandContext(ctx, "redis-cli", append(create, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("redis-cli --cluster create: %w\n%s", err, out)
	}
	return c.heal(ctx)
}

func addrOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// run starts a node on the data that it has. All its settings are those it comes
// with, but that one of a cluster is told earlier that another one is gone.
func (c *redisServers) run(port int) error {
	dir := filepath.Join(c.dir, strconv.Itoa(port))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir}
	if c.clustered {
		bus := port + 10000
		if bus > 65535 {
			bus = port - 10000
		}
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "1500")
	}
	cmd := exec.Command(c.binary, args...)
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

func (c *redisServers) kill(port int) {
	if cmd := c.nodes[port]; cmd != nil {
		delete(c.nodes, port)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func (c *redisServers) close() {
	for _, port := range c.ports {
		c.kill(port)
	}
}

// ask has one question answered by a node.
func (c *redisServers) ask(ctx context.Context, port int, question func(*redis.Client) bool) bool {
	redis.SetLogger(silent{}) // that nodes are down is no news here
	cl := redis.NewClient(&redis.Options{Addr: addrOf(port), MaxRetries: -1, ReadTimeout: time.Second, Protocol: 2, DisableIdentity: true})
	defer func() { _ = cl.Close() }()
	return ctx.Err() == nil && question(cl)
}

// eventually waits until all nodes answer a question with yes.
func (c *redisServers) eventually(ctx context.Context, question func(*redis.Client) bool) error {
	for _, port := range c.ports {
		for !c.ask(ctx, port, question) {
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *redisServers) open(ctx context.Context) (target.Target, error) {
	var endpoints []string
	for _, port := range c.ports {
		endpoints = append(endpoints, addrOf(port))
	}
	protocol := target.RESP
	if c.clustered {
		protocol = target.RESPCluster
	}
	return target.Open(ctx, protocol, target.Options{Endpoints: endpoints, Timeout: standstill + opTimeout})
}

func (c *redisServers) hurt(ctx context.Context, _ int) error {
	if err := pause(ctx, undisturbed); err != nil {
		return err
	}
	for _, port := range c.ports {
		if c.ask(ctx, port, func(r *redis.Client) bool { return strings.Contains(r.Info(ctx, "replication").Val(), "role:master") }) {
			return errors.Join(c.act(c, ctx, port), pause(ctx, undisturbed))
		}
	}
	return errors.New("no node of Redis is a primary")
}

func (c *redisServers) restart(_ context.Context, port int) error {
	c.kill(port)
	return c.run(port)
}

func (c *redisServers) pause(ctx context.Context, port int) error {
	process := c.nodes[port].Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(pause(ctx, standstill), process.Signal(syscall.SIGCONT))
}

func (c *redisServers) heal(ctx context.Context) error {
	return c.eventually(ctx, func(r *redis.Client) bool {
		if !c.clustered {
			return r.Ping(ctx).Err() == nil
		}
		cluster, replication := r.ClusterInfo(ctx).Val(), r.Info(ctx, "replication").Val()
		return strings.Contains(cluster, "cluster_state:ok") && strings.Contains(cluster, "cluster_known_nodes:6") &&
			(strings.Contains(replication, "connected_slaves:1") || strings.Contains(replication, "master_link_status:up"))
	})
}

func (c *redisServers) finish(*check.Verdict) error { return nil }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
