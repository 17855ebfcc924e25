package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/report"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// What kvctl takes for the nodes, so that both mean the same cluster.
const (
	endpointsVar     = "KVCTL_ENDPOINTS"
	defaultEndpoints = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"
)

// loadRun is one `loadtest run`.
type loadRun struct {
	cfg      load.Config
	protocol string
	store    target.Options
	workload string
	mix      string
	limits   report.Limits
	// json and html are files for the report, "" for none.
	json, html string
}

func runCommand(getenv func(string) string, stdout, stderr io.Writer) *cobra.Command {
	r := loadRun{cfg: load.Defaults()}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Put a store under load, then read every acknowledged key back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.run(cmd.Context(), stdout, stderr)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&r.protocol, "target", target.Client, "how to speak to the store: "+strings.Join(target.Protocols, ", "))
	f.StringSliceVar(&r.store.Endpoints, "endpoints", strings.Split(cmp.Or(getenv(endpointsVar), defaultEndpoints), ","), "nodes, as host:port,... (environment: "+endpointsVar+")")
	f.StringVar(&r.workload, "workload", load.Custom, "mix of operations: ycsb-a to ycsb-f, or custom")
	f.StringVar(&r.mix, "mix", "", "shares of a custom workload, of read, update, insert, scan, read-modify-write (default read=50,update=50)")
	f.StringVar((*string)(&r.cfg.Distribution), "distribution", "", "which keys are asked for: uniform, zipfian, latest (default the workload's own)")
	f.IntVar(&r.cfg.Keys, "keys", r.cfg.Keys, "keys that are written before the load")
	f.Var(&r.cfg.ValueSize, "value-size", "bytes in a value: 256, or 96-4096, or 256:9,64000:1 for nine of the one to each of the other")
	f.IntVar(&r.cfg.Clients, "clients", r.cfg.Clients, "operations under way at the same time, at most")
	f.IntVar(&r.store.Connections, "connections", 0, "connections for all clients, at most; 0 for as many as are needed")
	f.Float64Var(&r.cfg.Rate, "rate", 0, "operations to begin in a second; 0 for a closed loop, in which each client waits for its answer")
	f.DurationVar(&r.cfg.Ramp, "ramp", 0, "time in which rate or clients grow from nothing")
	f.DurationVar(&r.cfg.Warmup, "warmup", 0, "time after the ramp that is not in the figures")
	f.DurationVar(&r.cfg.Duration, "duration", r.cfg.Duration, "time in the figures")
	f.DurationVar(&r.store.Timeout, "timeout", 10*time.Second, "bound of one operation, with retries where the target makes them")
	f.DurationVar(&r.cfg.FillTimeout, "fill-timeout", r.cfg.FillTimeout, "bound of the writing of all keys before the load")
	f.DurationVar(&r.cfg.VerifyTimeout, "verify-timeout", r.cfg.VerifyTimeout, "bound of the reading back")
	f.Uint64Var(&r.cfg.Seed, "seed", r.cfg.Seed, "makes the sequence of operations, keys and sizes repeatable")
	f.StringVar(&r.json, "json", "", "file for the report as JSON")
	f.StringVar(&r.html, "html", "", "file for the report as a page that needs nothing else")
	f.DurationVar(&r.limits.P99, "max-p99", 0, "fail if 1 % of the operations take longer")
	f.DurationVar(&r.limits.Unavailable, "max-unavailable", 0, "fail if no write to some part of the keys succeeds for longer")
	f.Float64Var(&r.limits.Failures, "max-failures", -1, "fail if a larger share of the operations does not succeed, 0 to 1 (default no limit)")
	return cmd
}

func (r *loadRun) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := r.prepare(); err != nil {
		return &exitError{exitUsage, err}
	}
	store, err := target.Open(ctx, r.protocol, r.store)
	if err != nil {
		return openError(err)
	}
	fmt.Fprintf(stdout, "%-11s %s\n", "load", r.cfg.Describe())
	screen := newScreen(stderr)
	r.cfg.Progress = screen.show
	result, err := load.Run(ctx, r.cfg, store)
	screen.end()
	err = errors.Join(err, store.Close())
	switch {
	case errors.Is(err, load.ErrUnavailable):
		return &exitError{exitUnavailable, err}
	case ctx.Err() != nil && result == nil:
		return &exitError{exitInterrupted, errors.New("interrupted before the load began")}
	case errors.Is(err, load.ErrUnsupported):
		return &exitError{exitUsage, err}
	case err != nil:
		return err
	}
	return r.report(result, stdout)
}

// prepare completes and checks what the flags say.
func (r *loadRun) prepare() error {
	var err error
	if r.cfg.Mix, err = load.FindMix(r.workload, r.mix); err != nil {
		return err
	}
	if err := r.cfg.Validate(); err != nil {
		return err
	}
	if r.store.Timeout <= 0 {
		return fmt.Errorf("timeout is %v: give more than 0", r.store.Timeout)
	}
	return checkFiles(map[string]string{"json": r.json, "html": r.html})
}

// checkFiles returns an error, which names the flag, if one of the files could
// not be written after the run. It leaves them as they are.
func checkFiles(byFlag map[string]string) error {
	var errs []error
	for _, flag := range slices.Sorted(maps.Keys(byFlag)) {
		name := byFlag[flag]
		if name == "" {
			continue
		}
		_, err := os.Stat(filepath.Dir(name))
		if info, statErr := os.Stat(name); err == nil && statErr == nil && info.IsDir() {
			err = errors.New("it is a directory")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s is %q: give a file in a directory that is there: %w", flag, name, err))
		}
	}
	return errors.Join(errs...)
}

// openError tells a store that is not there from one that was not named right.
func openError(err error) error {
	if errors.Is(err, target.ErrUnreachable) {
		return &exitError{exitUnavailable, fmt.Errorf("the store was not available: %w", err)}
	}
	return &exitError{exitUsage, err}
}

// report tells what was found, and returns an error unless all checks passed.
func (r *loadRun) report(result *load.Result, stdout io.Writer) error {
	all := report.Report{
		Title:    fmt.Sprintf("%s over %s", r.workload, r.protocol),
		Settings: r.settings(),
		Load:     result,
		Checks:   report.ChecksOf(result, r.limits),
	}
	err := errors.Join(
		all.WriteText(stdout),
		writeFile(r.json, all.WriteJSON),
		writeFile(r.html, all.WriteHTML),
	)
	if err != nil {
		return err
	}
	return verdictError(&all)
}

func (r *loadRun) settings() []report.Setting {
	return []report.Setting{
		{Name: "load", Value: r.cfg.Describe()},
		{Name: "target", Value: fmt.Sprintf("%s, %s", r.protocol, strings.Join(r.store.Endpoints, " "))},
		{Name: "seed", Value: fmt.Sprint(r.cfg.Seed)},
		{Name: "loadtest", Value: version()},
	}
}

// writeFile writes a file of that name, unless it is "".
func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// verdictError is nil for a run that passed all checks.
func verdictError(r *report.Report) error {
	switch r.Load.Verdict() {
	case load.Violated:
		return &exitError{exitFailed, fmt.Errorf("%d answers contradict what was acknowledged", r.Load.Violations.Total())}
	case load.Interrupted:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case load.Undecided:
		return &exitError{exitUnavailable, errors.New("the store was not available: no verdict")}
	}
	for _, c := range r.Checks {
		if !c.Passed {
			return &exitError{exitFailed, fmt.Errorf("%s: %s", c.Name, c.Detail)}
		}
	}
	return nil
}
