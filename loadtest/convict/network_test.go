//go:build convict

package convict

import (
	"context"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/driver"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// parted is a suspect of nodes in network namespaces, which a nemesis parts.
type parted struct {
	*driver.Processes
	faults []nemesis.Strike
}

// severed is longer than it takes until a node that is cut off is deposed, and
// shorter than a node lets its clients wait: what it has under way then it can
// still acknowledge when it meets the others again.
var severed = nemesis.Span{Min: 1500 * time.Millisecond, Max: 2200 * time.Millisecond}

func startParted(ctx context.Context, binary, dir, faults, rule string) (suspect, error) {
	strikes, err := nemesis.Parse(faults)
	if err != nil {
		return nil, err
	}
	p, err := driver.Start(ctx, driver.Options{Binary: binary, Dir: dir, Env: []string{"BREAK_RULE=" + rule}, Namespaces: true})
	if err != nil {
		return nil, err
	}
	return parted{p, strikes}, nil
}

func (p parted) close() { _ = p.Close() }

func (p parted) open(ctx context.Context) (target.Target, error) {
	return target.Open(ctx, target.HTTP, target.Options{Endpoints: p.Endpoints(), Timeout: opTimeout})
}

// hurt lets one strike happen. A broken rule may keep a cluster from being whole
// again: then what can be read is checked.
func (p parted) hurt(ctx context.Context, round int) error {
	_, err := nemesis.Run(ctx, nemesis.Options{
		Driver:        p,
		Plan:          nemesis.Plan{Strikes: p.faults, Seed: uint64(round), Hold: severed, Calm: nemesis.Span{Min: undisturbed, Max: undisturbed}},
		RecoverWithin: 30 * time.Second,
	})
	if err != nil && ctx.Err() != nil {
		return err
	}
	return pause(ctx, undisturbed)
}

func (p parted) heal(context.Context) error { return nil } // the nemesis has

func (p parted) finish(v *check.Verdict) error {
	logs, err := p.Logs(context.Background())
	if err != nil {
		return err
	}
	return addLogs(v, logs)
}

// addLogs adds what is found in the logs of nodes.
func addLogs(v *check.Verdict, logs map[string]string) error {
	var served []check.Tenure
	for node, file := range logs {
		tenures, err := check.ReadTenuresFile(node, file)
		if err != nil {
			return err
		}
		served = append(served, tenures...)
		crashed, err := check.CrashesFile(node, file)
		if err != nil {
			return err
		}
		v.Add(crashed...)
	}
	v.Add(check.Epochs(served)...)
	return nil
}
