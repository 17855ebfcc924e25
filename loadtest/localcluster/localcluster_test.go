package localcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

func options(t *testing.T, env ...string) Options {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Binary: binary, Dir: t.TempDir(), Env: env}
}

func withTimeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestLifeOfACluster(t *testing.T) {
	ctx := withTimeout(t, time.Minute)
	c, err := Start(ctx, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("wait", c.WaitInSync(ctx))
	if i, err := c.Index("node-2"); i != 1 || err != nil {
		t.Errorf("node-2 is number %d, %v", i, err)
	}
	if _, err := c.Index("node-4"); err == nil {
		t.Error("there is a node-4")
	}
	killed := c.nodes[1]
	must("kill -9", c.Kill9(ctx, 1))
	if killed.Running() || killed.PID() != 0 || syscall.Kill(c.nodes[0].PID(), 0) != nil {
		t.Error("kill -9 must end this node and no other")
	}
	if err := c.Kill9(ctx, 1); err == nil {
		t.Error("a dead node can be killed")
	}
	must("wait for the others", c.WaitReady(ctx))
	if err := c.WaitInSync(withTimeout(t, time.Second)); err == nil || !strings.Contains(err.Error(), "node-2") {
		t.Errorf("in sync without node-2: %v", err)
	}
	must("restart", c.Restart(ctx, 1))
	must("wait for its return", c.WaitInSync(ctx))
	if err := c.Restart(ctx, 1); err == nil {
		t.Error("a running node can be started")
	}
	must("stop", c.Stop(ctx, 2))
	must("restart", c.Restart(ctx, 2))
	must("kill all", c.KillAll(ctx))
	for i, n := range c.Nodes() {
		if n.Running() {
			t.Errorf("%s survived", n.ID)
		}
		must("restart", c.Restart(ctx, i))
	}
	must("wait", c.WaitInSync(ctx))
	must("stop all", c.StopAll(ctx))
	must("wipe the founder", c.Wipe(0))
	if env := strings.Join(c.nodes[0].environment(), " "); strings.Contains(env, "BOOTSTRAP") || !strings.Contains(env, "JOIN_ADDR="+c.nodes[1].HTTPAddr) {
		t.Errorf("a founder that was wiped does not join the others: %s", env)
	}
	must("restart one", c.Restart(ctx, 0))
	if err := c.Wipe(0); err == nil {
		t.Error("a running node can be wiped")
	}
	pid := c.nodes[0].PID()
	c.Close()
	c.Close()
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d outlived Close", pid)
	}
}

func TestDeathByItself(t *testing.T) {
	ctx := withTimeout(t, time.Minute)
	c, err := Start(ctx, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	victim := c.nodes[1]
	p := victim.current()
	if err := syscall.Kill(victim.PID(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-p.done
	for what, err := range map[string]error{"wait": c.WaitReady(ctx), "kill": c.Kill9(ctx, 1), "stop": c.Stop(ctx, 1)} {
		if err == nil || !strings.Contains(err.Error(), "node-2 ended by itself") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A death that was watched is told in one line, and does not fail the stop.
func TestWatch(t *testing.T) {
	ctx := withTimeout(t, time.Minute)
	told := make(chan string, 10)
	o := options(t)
	o.Log = slog.New(slog.NewTextHandler(lines(told), &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	watching, interrupt := context.WithCancel(ctx)
	defer interrupt()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.Watch(watching)
	}()
	if err := syscall.Kill(c.nodes[1].PID(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	if line := <-told; !strings.Contains(line, "node-2") || !strings.Contains(line, "NODE_ID=node-2 ") || strings.Count(line, "\n") != 1 {
		t.Errorf("told %q", line)
	}
	interrupt()
	<-watched
	if err := syscall.Kill(c.nodes[2].PID(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitEnd(ctx, 2); err != nil || c.nodes[2].Running() {
		t.Errorf("its end: %v", err)
	}
	if line := <-told; !strings.Contains(line, "node-3") {
		t.Errorf("told %q", line)
	}
	short, stop := context.WithCancel(ctx)
	stop()
	if err := c.AwaitEnd(short, 0); err == nil || !strings.Contains(err.Error(), "node-1 does not end") {
		t.Errorf("the end of a node that lives: %v", err)
	}
	if err := c.StopAll(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	if len(told) != 0 {
		t.Errorf("told of a node that was stopped: %q", <-told)
	}
}

// lines is a writer that sends on what it is given.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestSingleNodeKeepsSingleCopies(t *testing.T) {
	for _, tc := range []struct {
		nodes int
		env   []string
		want  string
	}{
		{1, nil, "1"},
		{1, []string{"REPLICATION_FACTOR=2"}, "2"},
		{2, nil, ""},
	} {
		o := options(t, tc.env...)
		o.Nodes = tc.nodes
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, v := range c.nodes[0].environment() {
			if factor, ok := strings.CutPrefix(v, "REPLICATION_FACTOR="); ok {
				got = factor // the last one counts
			}
		}
		if got != tc.want {
			t.Errorf("%d nodes with %v: replication factor %q, want %q", tc.nodes, tc.env, got, tc.want)
		}
		c.Close()
	}
}

// The old session of a node that has just been restarted must not be taken
// for its return.
func TestOldSessionIsNoReturn(t *testing.T) {
	n := &Node{ID: "a"}
	n.lastIncarnation.Store(4)
	for _, tc := range []struct {
		node client.Node
		want bool
	}{
		{client.Node{ID: "a", Incarnation: 4, Alive: true}, false},
		{client.Node{ID: "a", Incarnation: 5, Alive: false}, false},
		{client.Node{ID: "b", Incarnation: 5, Alive: true}, false},
		{client.Node{ID: "a", Incarnation: 5, Alive: true}, true},
	} {
		if got := sessionOpen(&client.Status{Nodes: []client.Node{tc.node}}, n); got != tc.want {
			t.Errorf("%+v: %v, want %v", tc.node, got, tc.want)
		}
	}
}

func TestStartFails(t *testing.T) {
	if _, err := Start(t.Context(), Options{Binary: "/nowhere/kvnode", Dir: t.TempDir()}); err == nil {
		t.Error("started a binary that does not exist")
	}
	_, err := Start(withTimeout(t, time.Minute), options(t, "FAKE_BROKEN=node-2"))
	if !errors.Is(err, errPortTaken) || !strings.Contains(err.Error(), "node-2") || !strings.Contains(err.Error(), "RAFT_ADDR") {
		t.Errorf("the error does not name the node and what it said: %v", err)
	}
}

func TestPorts(t *testing.T) {
	free, err := holdPort(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	taken := free.Addr().(*net.TCPAddr).Port
	if l, err := holdPort(taken-2, 2); err == nil {
		l.Close()
		t.Errorf("port %d is not held", taken)
	}
	o := options(t)
	o.HTTPPort = taken
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), fmt.Sprint(taken)) {
		t.Errorf("started on a taken port: %v", err)
	}
}
