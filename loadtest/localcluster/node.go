package localcluster

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// Node is one kvnode process, over all its restarts.
type Node struct {
	ID       string
	HTTPAddr string
	RESPAddr string
	RaftAddr string
	DataDir  string
	// LogFile receives the standard error of all its processes.
	LogFile string

	name    string
	founder bool
	// command starts the node, in the environment env and its identity.
	command []string
	env     []string
	// others returns the HTTP addresses of the other nodes.
	others func() []string
	log    *slog.Logger
	// client asks this node only.
	client *client.Client
	// lastIncarnation is the highest session that is known to have ended.
	lastIncarnation atomic.Uint64
	// left: the node has left the cluster.
	left atomic.Bool

	mu      sync.Mutex
	process *process
	// wanted is true from the start of the process to the moment when we end it.
	wanted bool
	// started is true from the first start on.
	started bool
	// held keeps the addresses from others until the first start.
	held []net.Listener
}

// newNode returns node i with its addresses held.
func newNode(i int, o Options) (*Node, error) {
	id := fmt.Sprintf("node-%d", i+1)
	var place Place
	if o.Place != nil {
		var err error
		if place, err = o.Place(id); err != nil {
			return nil, fmt.Errorf("place of %s: %w", id, err)
		}
	}
	n := &Node{
		ID:      id,
		DataDir: cmp.Or(place.DataDir, filepath.Join(o.Dir, id)),
		LogFile: filepath.Join(o.Dir, id+".log"),
		name:    fmt.Sprintf("Server-%d", i+1),
		founder: i == 0,
		command: append(slices.Clone(place.Enter), o.Binary),
		env:     o.Env,
		log:     o.Log,
	}
	if err := n.settle(place.Host, i, o); err != nil {
		n.letGo()
		return nil, err
	}
	cl, err := client.New(client.Config{Endpoints: []string{n.HTTPAddr}, Timeout: statusTimeout})
	if err != nil {
		n.letGo()
		return nil, err
	}
	n.client = cl
	return n, nil
}

// settle gives the node its addresses.
func (n *Node) settle(host string, i int, o Options) error {
	for _, port := range []struct {
		addr  *string
		first int
		usual string
	}{{&n.HTTPAddr, o.HTTPPort, "8080"}, {&n.RESPAddr, o.RESPPort, "6379"}, {&n.RaftAddr, o.RaftPort, "9001"}} {
		if host != "" {
			*port.addr = net.JoinHostPort(host, port.usual)
			continue
		}
		l, err := holdPort(port.first, i)
		if err != nil {
			return err
		}
		n.held = append(n.held, l)
		*port.addr = l.Addr().String()
	}
	return nil
}

// environment is what the process is started with. The founder founds the
// cluster at its first start. Everyone else joins the others, and so does the
// founder when it has lost its data.
func (n *Node) environment() []string {
	env := []string{
		"NODE_ID=" + n.ID,
		"NODE_NAME=" + n.name,
		"HTTP_ADDR=" + n.HTTPAddr,
		"RESP_ADDR=" + n.RESPAddr,
		"RAFT_ADDR=" + n.RaftAddr,
		"DATA_DIR=" + n.DataDir,
	}
	if others := n.others(); n.founder && (!n.started || len(others) == 0) {
		env = append(env, "BOOTSTRAP=true")
	} else {
		env = append(env, "JOIN_ADDR="+strings.Join(others, ","))
	}
	return append(env, n.env...)
}

// commandLine starts the node from a shell.
func (n *Node) commandLine() string {
	return strings.Join(slices.Concat([]string{"env"}, n.environment(), n.command), " ")
}

// Start starts the node's process and returns when it answers at its HTTP
// address, which it does before it is ready to serve.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	if n.process.running() {
		n.mu.Unlock()
		return fmt.Errorf("%s is running already", n.ID)
	}
	n.letGo()
	p, err := startProcess(n.command, n.environment(), n.LogFile)
	n.process, n.wanted, n.started = p, err == nil, true
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	n.log.Info("started", "node", n.ID, "pid", p.pid())
	return p.untilLive(ctx, n)
}

// PID returns the process ID of a running node, else 0.
func (n *Node) PID() int {
	if p := n.current(); p.running() {
		return p.pid()
	}
	return 0
}

// Running reports whether the node's process runs.
func (n *Node) Running() bool { return n.current().running() }

func (n *Node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// died returns an error if the process has ended by itself.
func (n *Node) died() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.wanted || n.process.running() {
		return nil
	}
	return fmt.Errorf("%s ended by itself with exit code %d; the end of %s:\n%s", n.ID, n.process.exitCode(), n.LogFile, tail(n.LogFile))
}

// watch waits until the running process ends by itself, which it logs together
// with how to start it again by hand, or ctx ends.
func (n *Node) watch(ctx context.Context) {
	p := n.current()
	if p == nil {
		return
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == p && n.wanted && !p.running() {
		n.wanted = false
		n.log.Warn("ended by itself", "node", n.ID, "pid", p.pid(), "state", p.cmd.ProcessState.String(), "log", n.LogFile, "again", n.commandLine())
	}
}

// send sends a signal that does not end the process.
func (n *Node) send(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.process.running() {
		return fmt.Errorf("%s to %s: it is not running", s, n.ID)
	}
	n.process.signal(s)
	n.log.Info(s.String(), "node", n.ID)
	return nil
}

// end sends a signal that ends the process, and returns that.
func (n *Node) end(s syscall.Signal) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process.running() {
		n.wanted = false
		n.process.signal(s)
	}
	return n.process
}

func (n *Node) kill(ctx context.Context) error {
	if err := n.died(); err != nil {
		return err
	}
	if !n.Running() {
		return fmt.Errorf("kill %s: it is not running", n.ID)
	}
	p := n.end(syscall.SIGKILL)
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("kill %s: it is not gone yet: %w", n.ID, context.Cause(ctx))
	}
	n.log.Info("killed", "node", n.ID, "pid", p.pid())
	return nil
}

func (n *Node) stop(ctx context.Context) error {
	if err := n.died(); err != nil {
		return err
	}
	if !n.Running() {
		return nil
	}
	p := n.end(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("stop %s: still running: %w", n.ID, context.Cause(ctx))
	}
	if code := p.exitCode(); code != 0 {
		return fmt.Errorf("stop %s: exit code %d; the end of %s:\n%s", n.ID, code, n.LogFile, tail(n.LogFile))
	}
	n.log.Info("stopped", "node", n.ID)
	return nil
}

// leave waits until the process has ended by itself, as it does in order when its
// node was removed.
func (n *Node) leave(ctx context.Context) error {
	n.mu.Lock()
	p := n.process
	n.wanted = false
	n.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%s has never run", n.ID)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("%s has not ended: %w", n.ID, context.Cause(ctx))
	}
	if code := p.exitCode(); code != 0 {
		return fmt.Errorf("%s left with exit code %d; the end of %s:\n%s", n.ID, code, n.LogFile, tail(n.LogFile))
	}
	n.left.Store(true)
	n.log.Info("left", "node", n.ID)
	return nil
}

func (n *Node) wipe() error {
	if n.Running() {
		return fmt.Errorf("wipe %s: it is running", n.ID)
	}
	n.log.Info("wiped", "node", n.ID)
	return os.RemoveAll(n.DataDir)
}

// HasLeft reports whether the node has left the cluster.
func (n *Node) HasLeft() bool { return n.left.Load() }

// endsWithin bounds how long a node that is killed is waited for: its process may
// be in the hands of a disk that does not answer.
const endsWithin = 30 * time.Second

// release ends the node for good.
func (n *Node) release() {
	if n.Running() {
		select {
		case <-n.end(syscall.SIGKILL).done:
		case <-time.After(endsWithin):
			n.log.Warn("killed, and not gone yet", "node", n.ID, "pid", n.PID())
		}
	}
	n.client.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.letGo()
}

// letGo frees the addresses for the process. Call it with mu held.
func (n *Node) letGo() {
	for _, l := range n.held {
		l.Close()
	}
	n.held = nil
}

// LogTail returns the end of the node's log.
func (n *Node) LogTail() string { return tail(n.LogFile) }

const tailBytes = 2 << 10

// tail returns the end of a log file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-tailBytes):])
}
