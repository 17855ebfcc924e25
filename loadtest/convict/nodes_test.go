//go:build convict

package convict

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/driver"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// build returns the path of a kvnode that can be told to break a rule.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kvnode")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "planted", "-o", binary, "github.com/skshohagmiah/clusterkit/cmd/kvnode").CombinedOutput()
	if err != nil {
		t.Fatalf("build kvnode: %v\n%s", err, out)
	}
	return binary
}

// act is something that is done to a cluster under load.
type act func(ctx context.Context, c *localcluster.Cluster) error

// nodes are clusters of kvnode.
func nodes(binary string) []charge {
	kvnode := func(what, faults, rule string, acts ...act) charge {
		return charge{what: what, faults: faults, right: rule == "", start: func(ctx context.Context, dir string) (suspect, error) {
			return startCluster(ctx, binary, dir, acts, "BREAK_RULE="+rule)
		}}
	}
	retry := kvnode("a client that sends writes of unknown outcome again", "kill a primary", "", killPrimary)
	retry.right = false
	start := retry.start
	retry.start = func(ctx context.Context, dir string) (suspect, error) {
		s, err := start(ctx, dir)
		if err != nil {
			return nil, err
		}
		return retrying{s}, nil
	}
	network := func(what, faults, rule, strikes string) charge {
		return charge{what: what, faults: faults, right: rule == "", needs: driver.NamespacesLack, start: func(ctx context.Context, dir string) (suspect, error) {
			return startParted(ctx, binary, dir, strikes, rule)
		}}
	}
	return []charge{
		kvnode("nothing", "kill a primary, pause a primary, kill all, strand a primary", "", killPrimary, pausePrimary, killAll, strandPrimary),
		kvnode("replicas answer before the disk has the entries", "kill all", "ack-before-fsync", killAll),
		kvnode("a primary serves before its no-op is committed", "kill a primary", "serve-early", killPrimary),
		kvnode("a new epoch drops what is not known to be committed", "kill a primary", "truncate-to-commit", killPrimary),
		kvnode("reads need neither lease nor confirmation", "pause a primary", "read-without-lease", pausePrimary),
		network("nothing", "cut a node off, by the network", "", "partition:halves"),
		network("entries of a deposed primary are taken", "cut a node off, by the network", "accept-lower-epochs", "partition:halves"),
		kvnode("a read, or a failed condition, is answered from uncommitted state", "strand a primary", "answer-uncommitted", strandPrimary),
		retry,
	}
}

// cluster is a suspect of real nodes.
type cluster struct {
	*localcluster.Cluster
	acts []act
}

func startCluster(ctx context.Context, binary, dir string, acts []act, env ...string) (*cluster, error) {
	c, err := localcluster.Start(ctx, localcluster.Options{Binary: binary, Dir: dir, Env: env})
	if err != nil {
		return nil, err
	}
	s := &cluster{c, acts}
	if err := s.heal(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (c *cluster) close() { c.Close() }

func (c *cluster) open(ctx context.Context) (target.Target, error) {
	return target.Open(ctx, target.HTTP, target.Options{Endpoints: c.Endpoints(), Timeout: opTimeout})
}

const undisturbed = time.Second

func (c *cluster) hurt(ctx context.Context, round int) error {
	if err := pause(ctx, undisturbed); err != nil {
		return err
	}
	if err := c.acts[(round-1)%len(c.acts)](ctx, c.Cluster); err != nil {
		return c.unlessCrashed(err)
	}
	return pause(ctx, undisturbed)
}

// unlessCrashed returns the error, or nil if a node has crashed: that is found,
// whatever it makes impossible.
func (c *cluster) unlessCrashed(err error) error {
	if found, _ := c.crashes(); len(found) > 0 {
		return nil
	}
	return err
}

func (c *cluster) crashes() ([]check.Finding, error) {
	var all []check.Finding
	for _, n := range c.Nodes() {
		found, err := check.CrashesFile(n.ID, n.LogFile)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// heal starts what does not run. A broken rule may keep a cluster from being
// whole again: then what can be read is checked.
func (c *cluster) heal(ctx context.Context) error {
	for i, n := range c.Nodes() {
		if !n.Running() {
			if err := c.Restart(ctx, i); err != nil {
				return c.unlessCrashed(err)
			}
		}
	}
	waiting, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	if err := c.WaitInSync(waiting); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

func (c *cluster) finish(v *check.Verdict) error {
	logs := map[string]string{}
	for _, n := range c.Nodes() {
		logs[n.ID] = n.LogFile
	}
	return addLogs(v, logs)
}

// busiest returns the node that is primary of the most partitions.
func busiest(ctx context.Context, c *localcluster.Cluster) (int, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	led, most := map[string]int{}, ""
	for _, p := range status.Partitions {
		if led[p.Primary]++; p.Primary != "" && led[p.Primary] > led[most] {
			most = p.Primary
		}
	}
	return c.Index(most)
}

func killPrimary(ctx context.Context, c *localcluster.Cluster) error {
	i, err := busiest(ctx, c)
	if err == nil {
		err = c.Kill9(ctx, i)
	}
	if err != nil {
		return err
	}
	return pause(ctx, 4*time.Second)
}

func killAll(ctx context.Context, c *localcluster.Cluster) error { return c.KillAll(ctx) }

// pausePrimary lets a primary stand still until others have taken over, and for
// less than clients wait for it.
func pausePrimary(ctx context.Context, c *localcluster.Cluster) error {
	i, err := busiest(ctx, c)
	if err == nil {
		err = c.Pause(i)
	}
	if err != nil {
		return err
	}
	return errors.Join(pause(ctx, opTimeout-300*time.Millisecond), c.Continue(i))
}

// strandPrimary lets the others stand still, so that a primary has writes that
// nobody else has, then kills it and lets the others go on.
func strandPrimary(ctx context.Context, c *localcluster.Cluster) error {
	primary, err := busiest(ctx, c)
	if err != nil {
		return err
	}
	var errs []error
	for i := range c.Nodes() {
		if i != primary {
			errs = append(errs, c.Pause(i))
		}
	}
	errs = append(errs, pause(ctx, 700*time.Millisecond), c.Kill9(ctx, primary))
	for i := range c.Nodes() {
		if i != primary {
			errs = append(errs, c.Continue(i))
		}
	}
	return errors.Join(append(errs, pause(ctx, 4*time.Second))...)
}

// retrying is a suspect whose clients send again what may have been executed.
type retrying struct{ suspect }

func (r retrying) open(ctx context.Context) (target.Target, error) {
	t, err := r.suspect.open(ctx)
	return again{t}, err
}

type again struct{ target.Target }

func (a again) Do(ctx context.Context, op target.Op) (target.Result, error) {
	var err error
	for range 3 {
		var r target.Result
		if r, err = a.Target.Do(ctx, op); err == nil || target.OutcomeOf(err) != target.Unknown {
			return r, err
		}
	}
	return target.Result{}, fmt.Errorf("three times: %w", err)
}
