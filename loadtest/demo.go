package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/report"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

const (
	demoTimeout = 2 * time.Minute
	// The load runs undisturbed for calm, before the kill and after the
	// return; the killed node stays away for absence.
	calm    = 3 * time.Second
	absence = 5 * time.Second
)

func demoCommand(stdout io.Writer) *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster that loses a node under load, and no write",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			binary, err := findBinary(binary)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			return inDir(cmd.Context(), "", func(dir string) error {
				ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoTimeout, tooSlow(demoTimeout))
				defer cancel()
				d := &demo{stdout: stdout, start: time.Now()}
				return d.play(ctx, localcluster.Options{Binary: binary, Dir: dir})
			})
		},
	}
	cmd.Flags().StringVar(&binary, binaryFlag, besideThis("kvnode"), "path of kvnode")
	return cmd
}

// demo is one performance.
type demo struct {
	stdout  io.Writer
	start   time.Time
	cluster *localcluster.Cluster
}

// say prints one line for a step.
func (d *demo) say(step, format string, args ...any) {
	fmt.Fprintf(d.stdout, "%5.1fs  %-9s %s\n", time.Since(d.start).Seconds(), step, fmt.Sprintf(format, args...))
}

func (d *demo) play(ctx context.Context, options localcluster.Options) error {
	d.say("start", "three nodes with fresh data in %s", options.Dir)
	c, err := localcluster.Start(ctx, options)
	if err != nil {
		return err
	}
	defer c.Close()
	d.cluster = c
	if err := c.WaitInSync(ctx); err != nil {
		return err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	d.say("ready", "%d partitions with %d copies each, all in sync", len(status.Partitions), status.ReplicationFactor)
	if err := d.setAndGet(ctx); err != nil {
		return err
	}
	result, err := d.loadAndKill(ctx)
	if err != nil {
		return err
	}
	if err := c.StopAll(ctx); err != nil {
		return err
	}
	d.say("stop", "all nodes stopped cleanly")
	fmt.Fprintln(d.stdout)
	all := report.Report{Load: result, Checks: report.ChecksOf(result, report.Limits{Failures: -1})}
	if err := all.WriteText(d.stdout); err != nil {
		return err
	}
	if err := verdictError(&all); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.stdout, "\nA node was killed under load: no acknowledged write is lost, and no client waited longer than %s for a write to succeed.\n",
		load.Round(result.ClientGap))
	return err
}

// setAndGet writes through one node and reads through each other one.
func (d *demo) setAndGet(ctx context.Context) error {
	const key, value = "greeting", "hello, cluster"
	for i, n := range d.cluster.Nodes() {
		c, err := client.New(client.Config{Endpoints: []string{n.HTTPAddr}})
		if err != nil {
			return err
		}
		defer c.Close()
		if i == 0 {
			if _, err := c.Set(ctx, key, []byte(value)); err != nil {
				return err
			}
			d.say("set", "%s = %q through %s", key, value, n.ID)
			continue
		}
		got, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		if string(got.Data) != value {
			return fmt.Errorf("get %q through %s returned %q, want %q", key, n.ID, got.Data, value)
		}
		d.say("get", "%s = %q through %s", key, got.Data, n.ID)
	}
	return nil
}

// loadAndKill kills and restarts a primary under load. The load goes on until
// the node is in sync again and a little longer.
func (d *demo) loadAndKill(ctx context.Context) (*load.Result, error) {
	store, err := target.Open(ctx, target.Client, target.Options{Endpoints: d.cluster.Endpoints()})
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	cfg := load.Defaults()
	d.say("load", "%s", cfg.Describe())
	result, err := load.During(ctx, cfg, store, d.killAndRestart)
	if err != nil {
		return nil, err
	}
	d.say("read back", "%d keys, %d writes were acknowledged", result.Verified, result.Writes.OK)
	return result, nil
}

func (d *demo) killAndRestart(ctx context.Context) error {
	if err := pause(ctx, calm); err != nil {
		return err
	}
	status, err := d.cluster.Status(ctx)
	if err != nil {
		return err
	}
	id, led := busiest(status)
	victim, err := d.cluster.Index(id)
	if err != nil {
		return err
	}
	d.say("kill -9", "%s (pid %d), the primary of %d partitions", id, d.cluster.Nodes()[victim].PID(), led)
	if err := d.cluster.Kill9(ctx, victim); err != nil {
		return err
	}
	if err := d.cluster.WaitReady(ctx); err != nil {
		return err
	}
	d.say("failover", "every partition has a living primary again")
	if err := pause(ctx, absence); err != nil {
		return err
	}
	if err := d.cluster.Restart(ctx, victim); err != nil {
		return err
	}
	d.say("restart", "%s with its old data", id)
	if err := d.cluster.WaitInSync(ctx); err != nil {
		return err
	}
	d.say("in sync", "%s has caught up with the writes that it missed", id)
	return pause(ctx, calm)
}

// busiest returns the node that is primary of the most partitions.
func busiest(s *client.Status) (id string, partitions int) {
	led := map[string]int{}
	for _, p := range s.Partitions {
		led[p.Primary]++
		if n := led[p.Primary]; n > partitions {
			id, partitions = p.Primary, n
		}
	}
	return id, partitions
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
