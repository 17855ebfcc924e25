package localcluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

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

	name   string
	binary string
	env    []string
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
	// held keeps the addresses from others until the first start.
	held []net.Listener
}

// newNode returns node i with its addresses held.
func newNode(i int, o Options) (*Node, error) {
	var held []net.Listener
	release := func() {
		for _, l := range held {
			l.Close()
		}
	}
	for _, first := range []int{o.HTTPPort, o.RESPPort, o.RaftPort} {
		l, err := holdPort(first, i)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, l)
	}
	http, resp, raft := held[0].Addr().String(), held[1].Addr().String(), held[2].Addr().String()
	cl, err := client.New(client.Config{Endpoints: []string{http}, Timeout: statusTimeout})
	if err != nil {
		release()
		return nil, err
	}
	id := fmt.Sprintf("node-%d", i+1)
	return &Node{
		ID:       id,
		HTTPAddr: http,
		RESPAddr: resp,
		RaftAddr: raft,
		DataDir:  filepath.Join(o.Dir, id),
		LogFile:  filepath.Join(o.Dir, id+".log"),
		name:     fmt.Sprintf("Server-%d", i+1),
		binary:   o.Binary,
		env:      o.Env,
		log:      o.Log,
		client:   cl,
		held:     held,
	}, nil
}

// identity is the node's environment without the way into its cluster.
func (n *Node) identity() []string {
	return append([]string{
		"NODE_ID=" + n.ID,
		"NODE_NAME=" + n.name,
		"HTTP_ADDR=" + n.HTTPAddr,
		"RESP_ADDR=" + n.RESPAddr,
		"RAFT_ADDR=" + n.RaftAddr,
		"DATA_DIR=" + n.DataDir,
	}, n.env...)
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
	p, err := startProcess(n.binary, n.env, n.LogFile)
	n.process, n.wanted = p, err == nil
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

// watch waits until the running process ends by itself, which it logs, or ctx
// ends.
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
		n.log.Warn("ended by itself", "node", n.ID, "pid", p.pid(), "state", p.cmd.ProcessState.String(), "log", n.LogFile)
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

func (n *Node) kill() error {
	if err := n.died(); err != nil {
		return err
	}
	if !n.Running() {
		return fmt.Errorf("kill %s: it is not running", n.ID)
	}
	p := n.end(syscall.SIGKILL)
	<-p.done
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

// release ends the node for good.
func (n *Node) release() {
	if n.Running() {
		<-n.end(syscall.SIGKILL).done
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
