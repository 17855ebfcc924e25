// Package campaign puts a cluster under load, hurts it according to a plan, and
// decides what that has proved.
//
// Two loads run at the same time. One of a fixed rate shows for how long nothing
// was served; the other one is recorded, operation by operation on few keys, and
// checked for an order that explains it. When the faults are over and the cluster
// is whole again, everything is read back, the copies are compared with one
// another, and the logs of the nodes are searched for an epoch that two of them
// have served.
package campaign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Cluster is what is hurt.
type Cluster interface {
	nemesis.Driver
	// Endpoints returns the HTTP addresses of the nodes.
	Endpoints() []string
	// Logs returns the files that the nodes write their logs to, by their IDs.
	Logs(ctx context.Context) (map[string]string, error)
}

// Options say what happens.
type Options struct {
	Cluster Cluster
	Plan    nemesis.Plan
	// Rounds is how often each fault happens at least, and Duration how long
	// faults are begun at least.
	Rounds   int
	Duration time.Duration
	// AtMost is as in [nemesis.Options].
	AtMost time.Duration
	// RecoverWithin is as in [nemesis.Options].
	RecoverWithin time.Duration
	// MaxUnavailable is how long no write to some part of the keys may succeed
	// because of a fault.
	MaxUnavailable time.Duration
	// Rate is how many operations a second the load of fixed rate has.
	Rate float64
	// Dir receives the recorded history, and what is found wrong in it.
	Dir string
	// Told, if not nil, is told of each fault as it begins and as it ends.
	Told func(nemesis.Window)
}

// Result is what a campaign has found out.
type Result struct {
	Began   time.Time     `json:"began"`
	Elapsed time.Duration `json:"elapsed_ns"`
	Seed    uint64        `json:"seed"`
	Windows []Window      `json:"windows"`
	// Budget is how long a fault may take the store away.
	Budget time.Duration `json:"budget_ns"`
	// Calm is the longest unavailability that no fault was the reason of.
	Calm time.Duration `json:"calm_ns"`
	// Load is what the load of fixed rate found.
	Load *load.Result `json:"load"`
	// Verdict is that on the recorded history, the copies and the epochs.
	Verdict *check.Verdict `json:"verdict"`
	// Partitions is of how many the copies were compared, Epochs how many were
	// served.
	Partitions int `json:"partitions"`
	Epochs     int `json:"epochs"`
	// Failure is why the campaign ended early, "" if it did not.
	Failure     string `json:"failure,omitempty"`
	Interrupted bool   `json:"interrupted,omitempty"`
}

// Window is the time of one fault, and for how long it took the store away.
type Window struct {
	nemesis.Window
	Unavailable time.Duration `json:"unavailable_ns"`
}

// How the recorded load behaves: it is there to be checked, not to be fast.
const (
	operationWithin = 5 * time.Second
	finalWithin     = 2 * time.Minute
	verifyWithin    = 30 * time.Second
	recordedThink   = 20 * time.Millisecond
	loadClients     = 2000
	loadKeys        = 500
)

// Run lets a campaign happen. What went wrong with the cluster stands in the
// result, also when there is an error.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &Result{Began: time.Now(), Seed: o.Plan.Seed, Budget: o.MaxUnavailable}
	err := r.run(ctx, o)
	r.Elapsed = time.Since(r.Began)
	r.Interrupted = ctx.Err() != nil
	if r.Load != nil {
		r.attribute()
	}
	return r, err
}

func (r *Result) run(ctx context.Context, o Options) error {
	background, err := target.Open(ctx, target.Client, target.Options{Endpoints: o.Cluster.Endpoints(), Timeout: operationWithin})
	if err != nil {
		return err
	}
	defer func() { _ = background.Close() }()
	recorded, err := target.Open(ctx, target.HTTP, target.Options{Endpoints: o.Cluster.Endpoints(), Timeout: operationWithin})
	if err != nil {
		return err
	}
	defer func() { _ = recorded.Close() }()

	h, err := newRecording(o, recorded)
	if err != nil {
		return err
	}
	cfg := load.Defaults()
	cfg.Rate, cfg.Clients, cfg.Keys, cfg.Seed = o.Rate, loadClients, loadKeys, o.Plan.Seed
	r.Load, err = load.During(ctx, cfg, background, func(ctx context.Context) error {
		r.hurt(ctx, o, h)
		return nil
	})
	if err != nil {
		return errors.Join(err, h.abandon())
	}
	return r.judge(ctx, o, h)
}

// hurt runs the plan under the recorded load.
func (r *Result) hurt(ctx context.Context, o Options, h *recording) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	h.start(running)
	windows, err := nemesis.Run(ctx, nemesis.Options{
		Driver: o.Cluster, Plan: o.Plan, Rounds: o.Rounds, Duration: o.Duration, AtMost: o.AtMost,
		RecoverWithin: o.RecoverWithin, Told: o.Told,
	})
	for _, w := range windows {
		r.Windows = append(r.Windows, Window{Window: w})
	}
	if err != nil {
		r.Failure = err.Error()
	}
	stop()
	h.wait()
}

// judge looks at everything that is left when the load has ended.
func (r *Result) judge(ctx context.Context, o Options, h *recording) error {
	final, cancel := context.WithTimeout(ctx, finalWithin)
	defer cancel()
	unread := h.load.ReadBack(final)
	ops, err := h.finish()
	if err != nil {
		return err
	}
	r.Verdict, err = check.History(ops, check.Options{Dir: filepath.Join(o.Dir, "violations")})
	if err != nil {
		return err
	}
	r.Verdict.AddUnread(unread)
	if ctx.Err() != nil {
		return nil // the rest needs a cluster, and somebody who waits for it
	}
	status, err := o.Cluster.Status(final)
	if err != nil {
		return err
	}
	asking, err := client.New(client.Config{Endpoints: o.Cluster.Endpoints(), Timeout: verifyWithin})
	if err != nil {
		return err
	}
	defer asking.Close()
	r.Partitions = status.PartitionCount
	r.Verdict.Add(check.Copies(final, asking, status.PartitionCount)...)
	logs, err := o.Cluster.Logs(final)
	if err != nil {
		return err
	}
	var tenures []check.Tenure
	for node, file := range logs {
		t, err := check.ReadTenuresFile(node, file)
		if err != nil {
			return err
		}
		tenures = append(tenures, t...)
		crashes, err := check.CrashesFile(node, file)
		if err != nil {
			return err
		}
		if !r.mayEnd(node) {
			r.Verdict.Add(crashes...)
		}
	}
	r.Epochs = len(tenures)
	r.Verdict.Add(check.Epochs(tenures)...)
	return nil
}

// endings are the faults under which a node is right to end by itself.
var endings = []string{"diskfull", "fsync-error", "corrupt"}

// mayEnd reports whether such a fault has hit a node.
func (r *Result) mayEnd(node string) bool {
	return slices.ContainsFunc(r.Windows, func(w Window) bool {
		return slices.Contains(w.Nodes, node) && slices.ContainsFunc(w.Names, func(name string) bool { return slices.Contains(endings, name) })
	})
}

// recording is the load that is recorded.
type recording struct {
	load     *history.Load
	recorder *history.Recorder
	file     *os.File
	done     chan struct{}
}

func newRecording(o Options, store target.Target) (*recording, error) {
	f, err := os.Create(filepath.Join(o.Dir, "history.jsonl"))
	if err != nil {
		return nil, err
	}
	h := &recording{file: f, recorder: history.NewRecorder(f), done: make(chan struct{})}
	cfg := history.Defaults(store, fmt.Sprintf("campaign-%d", time.Now().UnixNano()))
	cfg.Think, cfg.Seed = recordedThink, o.Plan.Seed
	if h.load, err = history.New(cfg, store, h.recorder); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

func (h *recording) start(ctx context.Context) {
	go func() {
		defer close(h.done)
		h.load.Run(ctx)
	}()
}

func (h *recording) wait() { <-h.done }

// finish returns what was recorded.
func (h *recording) finish() ([]history.Operation, error) {
	if err := errors.Join(h.recorder.Close(), h.file.Close()); err != nil {
		return nil, err
	}
	return history.ReadFile(h.file.Name())
}

func (h *recording) abandon() error { return h.file.Close() }
