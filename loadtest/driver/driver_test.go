package driver

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
)

// A driver implements what it does not lack.
var _ interface {
	nemesis.Driver
	nemesis.Killer
	nemesis.Pauser
	nemesis.Network
	nemesis.Isolator
	nemesis.Members
	nemesis.Power
	nemesis.Space
	nemesis.Breaker
	nemesis.Data
	nemesis.Clocks
} = (*Processes)(nil)

var _ interface {
	nemesis.Driver
	nemesis.Killer
	nemesis.Pauser
	nemesis.Isolator
} = (*Containers)(nil)

func start(t *testing.T, namespaces bool) *Processes {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := Start(ctx, Options{Binary: kvnode, Dir: t.TempDir(), Namespaces: namespaces})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// strike has faults happen for a moment, and the cluster recover.
func strike(t *testing.T, p *Processes, faults string) []nemesis.Window {
	t.Helper()
	strikes, err := nemesis.Parse(faults)
	if err != nil {
		t.Fatal(err)
	}
	windows, err := nemesis.Run(t.Context(), nemesis.Options{
		Driver: p, Plan: nemesis.Plan{Strikes: strikes, Seed: 1, Hold: nemesis.Span{Min: 500 * time.Millisecond, Max: 500 * time.Millisecond}},
		RecoverWithin: 2 * time.Minute,
	})
	for _, w := range windows {
		t.Logf("%s of %v, recovered %v after it was healed: %s%s", w.Fault, w.Nodes, w.Recovered.Sub(w.Healed), w.Detail, w.NotRun)
	}
	if err != nil {
		t.Fatal(err)
	}
	return windows
}

// compare has the copies compared when the faults are over.
func compare(t *testing.T, p *Processes) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status, err := p.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Endpoints: p.Endpoints(), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, found := range check.Copies(ctx, c, status.PartitionCount) {
		t.Error(found)
	}
}

func TestProcessesOnLoopback(t *testing.T) {
	p := start(t, false)
	for _, w := range strike(t, p, "kill:primary,pause:leader,wipe:primary,corrupt:log,clock:leader,partition:halves,netem:loss") {
		if lacks := slices.Contains([]string{"partition:halves", "netem:loss"}, w.Fault); lacks != strings.Contains(w.NotRun, "use network namespaces") {
			t.Errorf("%s: not run, %q", w.Fault, w.NotRun)
		}
	}
	compare(t, p)
}

func TestProcessesInNamespaces(t *testing.T) {
	if why := NamespacesLack(t.Context()); why != "" {
		t.Skip(why)
	}
	p := start(t, true)
	stop := write(t, p)
	defer stop()
	windows := strike(t, p, "partition:one-way,netem:delay=5ms,powercut:all,fsync-error:replica,diskfull:reserve")
	stop()
	compare(t, p)
	logs, err := p.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range windows {
		if w.Fault != "fsync-error:replica" || w.NotRun != "" {
			continue
		}
		log, err := os.ReadFile(logs[w.Nodes[0]])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(log), "its disk cannot be trusted") || strings.Contains(string(log), "flushing memtable") {
			t.Errorf("a node whose disk fails has to end without writing to it again:\n%s", log)
		}
	}
}

// write has something to be written all the time, until stop.
func write(t *testing.T, p *Processes) (stop func()) {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: p.Endpoints(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = c.Set(ctx, fmt.Sprint("key ", i%1000), []byte("value")) // what fails is no matter here
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		writing.Wait()
		c.Close()
	})
}
