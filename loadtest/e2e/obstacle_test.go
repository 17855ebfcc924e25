package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/driver"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
)

// startDriven starts a cluster of three whose disks, or network, a test has in its
// hands, and fills it with blobs.
func startDriven(t *testing.T, ctx context.Context, o driver.Options) *driver.Processes {
	t.Helper()
	o.Binary, o.Dir, o.Env = kvnode, t.TempDir(), []string{littleLog}
	p, err := driver.Start(ctx, o)
	must(t, "start", err)
	t.Cleanup(func() {
		must(t, "close", p.Close())
		logIfFailed(t, p.Cluster())
	})
	setBlobs(t, ctx, clientOf(t, p.Cluster(), 0), blobs)
	return p
}

// waitingFor waits until the copy says so, and an operator sees it.
func waitingFor(t *testing.T, ctx context.Context, c *localcluster.Cluster, i int, partition, why string) api.Migration {
	t.Helper()
	m := awaitCopy(t, ctx, c, i, func(m api.Migration) bool { return m.Partition == partition && strings.Contains(m.Waiting, why) })
	for !strings.Contains(ctl(t, ctx, c, "migration", "ls"), why) {
		if ctx.Err() != nil {
			t.Fatalf("kvctl migration ls does not say %q", why)
		}
	}
	t.Logf("%s waits, with %d of %d bytes: %s", partition, m.Bytes, m.Total, m.Waiting)
	return m
}

// hinder has a fourth node join under load, puts something in the way of one of
// its copies, which takes that away again, and has the node leave. The copies must
// have gone on where they were.
func hinder(t *testing.T, ctx context.Context, p *driver.Processes, obstacle func(i int, m api.Migration)) {
	t.Helper()
	c := p.Cluster()
	throttle(t, ctx, c, slow)
	underLoad(t, ctx, c, func() {
		balanced(t, ctx, c)
		s, err := c.Status(ctx)
		must(t, "status", err)
		id, err := p.Join(ctx)
		must(t, "join", err)
		i, err := c.Index(id)
		must(t, "node", err)
		node := c.Nodes()[i]
		pid := node.PID()
		// The node that leads the control plane is left in peace: who cannot reach
		// it loses its session, and all its copies with that.
		m := awaitCopy(t, ctx, c, i, func(m api.Migration) bool { return halfway(m) && m.Source != s.Leader })
		obstacle(i, m)
		throttle(t, ctx, c, 0)
		must(t, "wait", c.WaitInSync(ctx))
		balanced(t, ctx, c)
		mustBeLevel(t, ctx, c)
		if node.PID() != pid {
			t.Errorf("%s has ended meanwhile", id)
		}
		failed, resumed := counted(t, ctx, node, "kvstore_migration_failures_total"), counted(t, ctx, node, "kvstore_migration_resumed_bytes_total")
		if failed > 0 && resumed < float64(m.Bytes) {
			t.Errorf("%v attempts have failed, and only %v bytes were kept of them", failed, resumed)
		}
		ctl(t, ctx, c, "node", "decommission", id)
		must(t, "leave", c.Left(ctx, i))
	})
	s, err := c.Status(ctx)
	must(t, "status", err)
	verifier, err := client.New(client.Config{Endpoints: c.Endpoints(), Timeout: patience})
	must(t, "client", err)
	defer verifier.Close()
	for _, found := range check.Copies(ctx, verifier, s.PartitionCount) {
		t.Error(found)
	}
	wantBlobs(t, ctx, clientOf(t, c, 0), blobs)
}

// TestTargetDiskFull fills the disk of the node that copies are made on: first so
// far that it has no room for copies, and still for writes, then to less than it
// needs for those, and then to the last byte.
func TestTargetDiskFull(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	p := startDriven(t, ctx, driver.Options{})
	if why := p.Lacks(nemesis.Filling); why != "" {
		t.Skip(why)
	}
	hinder(t, ctx, p, func(i int, m api.Migration) {
		node := p.Cluster().Nodes()[i].ID
		for _, left := range []int64{350 << 20, 64 << 20, 0} {
			must(t, "fill", p.Fill(node, left))
			began := waitingFor(t, ctx, p.Cluster(), i, m.Partition, "space")
			awaitCopy(t, ctx, p.Cluster(), i, func(still api.Migration) bool {
				return still.Partition == m.Partition && still.Waiting != "" && still.Bytes == began.Bytes && still.Seconds > began.Seconds+2
			})
		}
		must(t, "free", p.Free(node))
	})
}

// TestLinkCutInTheMiddleOfACopy has one direction between source and target lose
// every packet.
func TestLinkCutInTheMiddleOfACopy(t *testing.T) {
	ctx := within(t, 6*time.Minute)
	if why := driver.NamespacesLack(ctx); why != "" {
		t.Skip(why)
	}
	p := startDriven(t, ctx, driver.Options{Namespaces: true, Seed: 1})
	for name, link := range map[string]func(source, target string) nemesis.Link{
		"nothing arrives from the source": func(source, target string) nemesis.Link { return nemesis.Link{From: source, To: target} },
		"nothing arrives at the source":   func(source, target string) nemesis.Link { return nemesis.Link{From: target, To: source} },
	} {
		t.Run(name, func(t *testing.T) {
			hinder(t, ctx, p, func(i int, m api.Migration) {
				must(t, "cut", p.Cut(link(m.Source, p.Cluster().Nodes()[i].ID)))
				waitingFor(t, ctx, p.Cluster(), i, m.Partition, m.Source)
				met, err := p.Mend()
				must(t, "mend", err)
				if met == 0 {
					t.Error("no packet was lost")
				}
			})
		})
	}
}
