package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/loadtest/campaign"
	"github.com/skshohagmiah/clusterkit/loadtest/driver"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
)

// The drivers that --driver knows.
const (
	onLoopback    = "process"
	inNamespaces  = "netns"
	inContainers  = "compose"
	wherePossible = "auto"
)

// eventsLog is the file that says what happened to the processes.
const eventsLog = "events.log"

// faultsOptions are the flags of loadtest faults.
type faultsOptions struct {
	faults, driver, binary, dir string
	composeFile                 string
	html, json, table           string
	nodes                       int
	seed                        uint64
	list                        bool
	campaign                    campaign.Options
	plan                        nemesis.Plan
}

func faultsCommand(stdout io.Writer) *cobra.Command {
	o := faultsOptions{
		campaign: campaign.Options{Rounds: 1, RecoverWithin: 2 * time.Minute, Rate: 200},
		plan:     nemesis.Plan{Hold: nemesis.Span{Min: 3 * time.Second, Max: 6 * time.Second}, Calm: nemesis.Span{Min: time.Second, Max: 2 * time.Second}},
	}
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "Hurt a cluster of this machine under load, and check that it keeps its promises",
		Long: "Hurt a cluster of this machine under load, and check that it keeps its promises.\n\n" +
			"A fault is name[:variant][:parameter=value,...][+...][@time]: + joins faults that\n" +
			"begin together, @ says how long after the start of the load, and the parameter\n" +
			"hold how long it lasts. What is left open is drawn from the seed. Faults that have\n" +
			"no means here are reported as NOT RUN.\n\nFaults:\n" + catalogue(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.list {
				fmt.Fprint(stdout, catalogue())
				return nil
			}
			if err := o.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			return inDir(cmd.Context(), o.dir, func(dir string) error { return o.run(cmd.Context(), dir, stdout) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.faults, "faults", nemesis.All, "what is done to the cluster, separated by commas")
	f.BoolVar(&o.list, "list", false, "list the faults and do nothing")
	f.StringVar(&o.driver, "driver", wherePossible, "where the nodes are: "+strings.Join(drivers(), ", ")+"; auto is netns where that is possible, else process")
	f.IntVar(&o.campaign.Rounds, "rounds", o.campaign.Rounds, "how often each fault happens at least")
	f.DurationVar(&o.campaign.Duration, "duration", 0, "how long faults are begun at least")
	f.DurationVar(&o.campaign.AtMost, "at-most", 0, "how long faults are begun at most; what has not had its turn by then is NOT RUN; 0 is no limit")
	f.Uint64Var(&o.seed, "seed", 1, "decides what is left open, and repeats it")
	f.DurationVar(&o.campaign.MaxUnavailable, "max-unavailable", 0, "how long no write to some part of the keys may succeed because of a fault; 0 is no limit")
	f.DurationVar(&o.plan.Hold.Min, "hold", o.plan.Hold.Min, "how long a fault lasts at least")
	f.DurationVar(&o.plan.Hold.Max, "hold-max", o.plan.Hold.Max, "and at most")
	f.DurationVar(&o.campaign.RecoverWithin, "recover-within", o.campaign.RecoverWithin, "how long a fault may take to begin, how long to be healed, and how long the cluster then to be whole again; what takes longer fails the run")
	f.Float64Var(&o.campaign.Rate, "rate", o.campaign.Rate, "operations a second of the load of fixed rate")
	f.IntVar(&o.nodes, "nodes", 3, "number of nodes")
	f.StringVar(&o.binary, binaryFlag, besideThis("kvnode"), "path of kvnode")
	f.StringVar(&o.composeFile, "compose-file", "docker/compose.yaml", "compose file of the containers")
	f.StringVar(&o.dir, "out", "", "where logs, histories and what is found wrong are kept (default: a temporary directory, kept only after a failure)")
	f.StringVar(&o.html, "html", "", "write a report with plots to this file")
	f.StringVar(&o.json, "json", "", "write everything to this file")
	f.StringVar(&o.table, "table", "", "write the table to this file, as Markdown")
	return cmd
}

func drivers() []string { return []string{wherePossible, onLoopback, inNamespaces, inContainers} }

func catalogue() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range nemesis.Catalogue() {
		fmt.Fprintln(w, "  "+line)
	}
	_ = w.Flush() // it writes to memory
	return b.String()
}

// check looks at the flags and completes the plan.
func (o *faultsOptions) check() error {
	var err error
	if o.plan.Strikes, err = nemesis.Parse(o.faults); err != nil {
		return err
	}
	o.plan.Seed = o.seed
	o.plan.Hold.Max = max(o.plan.Hold.Min, o.plan.Hold.Max)
	if err := o.plan.Validate(); err != nil {
		return err
	}
	if o.nodes < 3 {
		return fmt.Errorf("--nodes is %d: give at least 3, or no fault can be survived", o.nodes)
	}
	if o.campaign.Rate <= 0 || o.campaign.RecoverWithin <= 0 || o.campaign.MaxUnavailable < 0 || o.campaign.AtMost < 0 {
		return errors.New("--rate and --recover-within must be more than 0, --max-unavailable and --at-most not less")
	}
	if !slices.Contains(drivers(), o.driver) {
		return fmt.Errorf("--driver is %q: give one of: %s", o.driver, strings.Join(drivers(), ", "))
	}
	if err := checkFiles(map[string]string{"html": o.html, "json": o.json, "table": o.table}); err != nil {
		return err
	}
	o.binary, err = findBinary(o.binary)
	return err
}

func (o *faultsOptions) run(ctx context.Context, dir string, stdout io.Writer) (err error) {
	began := time.Now()
	say := func(step, format string, args ...any) {
		fmt.Fprintf(stdout, "%6.1fs  %-10s %s\n", time.Since(began).Seconds(), step, fmt.Sprintf(format, args...))
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	events, err := os.OpenFile(filepath.Join(dir, eventsLog), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return &exitError{exitUsage, fmt.Errorf("--out is %s: an earlier campaign has its logs there, give another directory", dir)}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, events.Close()) }()
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, tooSlow(startTimeout))
	defer cancel()
	cluster, where, err := o.start(starting, dir, slog.New(slog.NewTextHandler(events, nil)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	say("ready", "%d nodes in %s; logs in %s; seed %d", o.nodes, where, dir, o.seed)
	c := o.campaign
	c.Cluster, c.Plan, c.Dir = cluster, o.plan, dir
	c.Told = func(w nemesis.Window) { tellFault(say, w) }
	result, failure := campaign.Run(ctx, c)
	if err := o.tell(result, where, stdout); err != nil {
		return errors.Join(failure, err)
	}
	switch {
	case failure != nil && ctx.Err() == nil:
		return failure
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case !result.Passed():
		return &exitError{exitFailed, fmt.Errorf("a check failed; repeat it with --seed %d", o.seed)}
	}
	return nil
}

// closable is a cluster that leaves nothing behind.
type closable interface {
	campaign.Cluster
	Close() error
}

// start starts the cluster, and says where.
func (o *faultsOptions) start(ctx context.Context, dir string, log *slog.Logger) (c closable, where string, err error) {
	if o.driver == inContainers {
		c, err := driver.StartContainers(ctx, driver.ContainerOptions{File: o.composeFile, Environ: os.Environ(), Dir: dir, Log: log})
		return c, "containers", err
	}
	options := driver.Options{Binary: o.binary, Nodes: o.nodes, Dir: dir, Seed: o.seed, Log: log}
	where = "the loopback interface"
	if o.driver == inNamespaces || o.driver == wherePossible && driver.NamespacesLack(ctx) == "" {
		options.Namespaces, where = true, "network namespaces"
	}
	c, err = driver.Start(ctx, options)
	return c, where, err
}

// tellFault prints a line when a fault begins and when it has ended.
func tellFault(say func(string, string, ...any), w nemesis.Window) {
	nodes, detail := strings.Join(w.Nodes, ", "), ""
	if w.Detail != "" {
		detail = " (" + w.Detail + ")"
	}
	switch {
	case w.NotRun != "":
		say("NOT RUN", "%s: %s", w.Fault, w.NotRun)
	case w.Failure != "":
		say("FAILED", "%s of %s: %s", w.Fault, nodes, w.Failure)
	case w.Healed.IsZero():
		say("fault", "%s of %s%s", w.Fault, nodes, detail)
	default:
		say("recovered", "from %s, %v after it was healed%s", w.Fault, load.Round(w.Recovered.Sub(w.Healed)), detail)
	}
}

// tell prints the result and writes the files that were asked for.
func (o *faultsOptions) tell(r *campaign.Result, where string, stdout io.Writer) error {
	if err := r.WriteText(stdout); err != nil {
		return err
	}
	err := errors.Join(
		writeFile(o.table, func(w io.Writer) error { return r.WriteMarkdown(w, where, o.command()) }),
		writeFile(o.json, r.WriteJSON),
	)
	if r.Load == nil {
		return err
	}
	page := r.Report(fmt.Sprintf("Faults, seed %d", r.Seed))
	return errors.Join(err, writeFile(o.html, page.WriteHTML))
}

// command is what repeats the campaign.
func (o *faultsOptions) command() string {
	return fmt.Sprintf("loadtest faults --faults %s --rounds %d --duration %v --seed %d --max-unavailable %v",
		o.faults, o.campaign.Rounds, o.campaign.Duration, o.seed, o.campaign.MaxUnavailable)
}
