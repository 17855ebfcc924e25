package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
)

// ContainerOptions describe a cluster of containers.
type ContainerOptions struct {
	// File is a compose file with services node-1 to node-3, each of which
	// publishes port 8080 where NODE_1_PORT and so on says.
	File string
	// Environ is the environment of the programs that are run.
	Environ []string
	// Dir receives the logs.
	Dir string
	Log *slog.Logger
}

// Containers is a cluster of containers, driven by the Docker command line.
type Containers struct {
	options ContainerOptions
	compose []string
	nodes   []container
	client  *client.Client

	mu sync.Mutex
	// ended are the last sessions of nodes that are known to have ended.
	ended map[string]uint64
}

type container struct{ name, id, addr string }

const (
	containerNodes = 3
	closeWithin    = time.Minute
	// runWithin bounds a program that nobody else bounds.
	runWithin = 30 * time.Second
)

// StartContainers starts a cluster of new containers, with images and volumes of
// their own project. The caller must Close it.
func StartContainers(ctx context.Context, o ContainerOptions) (*Containers, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Containers{options: o, ended: map[string]uint64{}}
	if err := c.findCompose(ctx); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("containers: %w", err), c.Close())
	}
	return c, nil
}

// findCompose finds out which of the two programs there is.
func (c *Containers) findCompose(ctx context.Context) error {
	if _, err := c.run(ctx, "docker", "info"); err != nil {
		return fmt.Errorf("there is no Docker engine: %w", err)
	}
	project := fmt.Sprintf("kvfaults%d", os.Getpid())
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if _, err := c.run(ctx, append(command, "version")...); err == nil {
			c.compose = append(command, "-p", project, "-f", c.options.File)
			return nil
		}
	}
	return errors.New("neither docker compose nor docker-compose is installed")
}

func (c *Containers) start(ctx context.Context) error {
	var endpoints []string
	for i := range containerNodes {
		port, err := freePort()
		if err != nil {
			return err
		}
		c.options.Environ = append(c.options.Environ, fmt.Sprintf("NODE_%d_PORT=%s", i+1, port))
		endpoints = append(endpoints, net.JoinHostPort("127.0.0.1", port))
	}
	if _, err := c.run(ctx, append(c.compose, "up", "-d")...); err != nil {
		return err
	}
	for i, addr := range endpoints {
		name := fmt.Sprintf("node-%d", i+1)
		id, err := c.run(ctx, append(c.compose, "ps", "-q", name)...)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, container{name, id, addr})
	}
	var err error
	if c.client, err = client.New(client.Config{Endpoints: endpoints, Timeout: 2 * time.Second}); err != nil {
		return err
	}
	return c.AwaitInSync(ctx)
}

// freePort returns a port of the loopback interface that stays the same when a
// container starts again.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// run runs a program and returns what it prints.
func (c *Containers) run(ctx context.Context, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = c.options.Environ
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, text)
	}
	return text, nil
}

// docker does one thing to the containers of nodes.
func (c *Containers) docker(ctx context.Context, what string, nodes ...string) error {
	args := strings.Fields("docker " + what)
	for _, n := range c.nodes {
		if slices.Contains(nodes, n.name) {
			args = append(args, n.id)
		}
	}
	c.options.Log.Info(what, "nodes", strings.Join(nodes, " "))
	_, err := c.run(ctx, args...)
	return err
}

// Close removes containers, networks and volumes. Logs that were asked for are
// kept.
func (c *Containers) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if c.client != nil {
		c.client.Close()
	}
	_, err := c.run(ctx, append(c.compose, "down", "-v", "--remove-orphans", "-t", "1")...)
	return err
}

// Endpoints returns the HTTP addresses of the nodes.
func (c *Containers) Endpoints() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

// Logs writes what the nodes have logged to files.
func (c *Containers) Logs(ctx context.Context) (map[string]string, error) {
	logs := map[string]string{}
	for _, n := range c.nodes {
		text, err := c.run(ctx, "docker", "logs", n.id)
		if err != nil {
			return nil, err
		}
		logs[n.name] = filepath.Join(c.options.Dir, n.name+".log")
		if err := os.WriteFile(logs[n.name], []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return logs, nil
}

// Nodes returns the IDs of the nodes.
func (c *Containers) Nodes() []string {
	var names []string
	for _, n := range c.nodes {
		names = append(names, n.name)
	}
	return names
}

// Status returns the cluster as a living node sees it.
func (c *Containers) Status(ctx context.Context) (*client.Status, error) { return c.client.Status(ctx) }

// AwaitInSync waits until every copy is in sync, in sessions that have begun
// since the last one that is known to have ended.
func (c *Containers) AwaitInSync(ctx context.Context) error {
	for {
		status, err := c.Status(ctx)
		if err == nil {
			if err = c.missing(status); err == nil {
				return nil
			}
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return fmt.Errorf("cluster not in sync: %w (%w)", err, context.Cause(ctx))
		}
	}
}

// missing says what still lacks.
func (c *Containers) missing(s *client.Status) error {
	alive := 0
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range s.Nodes {
		if n.Alive && n.Incarnation > c.ended[n.ID] {
			alive++
		}
	}
	if alive < len(c.nodes) || len(s.Partitions) == 0 {
		return fmt.Errorf("%d of %d nodes live", alive, len(c.nodes))
	}
	for _, p := range s.Partitions {
		if h := s.Health(p); h != client.Healthy {
			return fmt.Errorf("%s is %s", p.ID, h)
		}
	}
	return nil
}

// remember notes that the sessions of nodes end now.
func (c *Containers) remember(ctx context.Context, nodes []string) {
	status, err := c.Status(ctx)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range status.Nodes {
		if slices.Contains(nodes, n.ID) {
			c.ended[n.ID] = n.Incarnation
		}
	}
}

// Lacks says why something cannot be done here.
func (c *Containers) Lacks(m nemesis.Means) string {
	switch m {
	case nemesis.Killing, nemesis.Pausing, nemesis.Isolating:
		return ""
	case nemesis.Joining:
		return "the compose file has a fixed number of nodes"
	case nemesis.Cutting, nemesis.Shaping:
		return "Docker can only take a container from its network altogether"
	default:
		return "volumes and clocks of containers belong to Docker and to the machine"
	}
}

// Kill ends nodes without notice.
func (c *Containers) Kill(ctx context.Context, nodes ...string) error {
	c.remember(ctx, nodes)
	return c.docker(ctx, "kill", nodes...)
}

// Stop asks a node to stop.
func (c *Containers) Stop(ctx context.Context, node string) error {
	c.remember(ctx, []string{node})
	return c.docker(ctx, "stop", node)
}

// Start starts nodes again.
func (c *Containers) Start(ctx context.Context, nodes ...string) error {
	return c.docker(ctx, "start", nodes...)
}

// Running reports whether the container of a node runs.
func (c *Containers) Running(node string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), runWithin)
	defer cancel()
	return c.running(ctx, node)
}

func (c *Containers) running(ctx context.Context, node string) bool {
	for _, n := range c.nodes {
		if n.name == node {
			state, err := c.run(ctx, "docker", "inspect", "-f", "{{.State.Running}}", n.id)
			return err == nil && state == "true"
		}
	}
	return false
}

// Pause lets nodes stand still.
func (c *Containers) Pause(nodes ...string) error { return c.briefly("pause", nodes) }

// Resume lets them go on.
func (c *Containers) Resume(nodes ...string) error { return c.briefly("unpause", nodes) }

func (c *Containers) briefly(what string, nodes []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), runWithin)
	defer cancel()
	return c.docker(ctx, what, nodes...)
}

// Isolate takes a node from its network.
func (c *Containers) Isolate(ctx context.Context, node string) error {
	return c.docker(ctx, "network disconnect -f "+c.network(), node)
}

// Unite gives it back, under the name by which the others look for it.
func (c *Containers) Unite(ctx context.Context, node string) error {
	return c.docker(ctx, "network connect --alias "+node+" "+c.network(), node)
}

func (c *Containers) network() string {
	for i, arg := range c.compose {
		if arg == "-p" {
			return c.compose[i+1] + "_default"
		}
	}
	return ""
}
