package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

const (
	startTimeout = time.Minute
	stopTimeout  = 20 * time.Second
)

// tooSlow is the cause of a context that ends after d.
func tooSlow(d time.Duration) error { return fmt.Errorf("it took longer than %v", d) }

func clusterCommand(stdout, stderr io.Writer) *cobra.Command {
	var (
		options localcluster.Options
		dir     string
	)
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run a cluster on this machine until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCluster(options); err != nil {
				return &exitError{exitUsage, err}
			}
			var err error
			if options.Binary, err = findBinary(options.Binary); err != nil {
				return &exitError{exitUsage, err}
			}
			options.Log = slog.New(slog.NewTextHandler(stderr, nil))
			return inDir(cmd.Context(), dir, func(dir string) error {
				options.Dir = dir
				return serveCluster(cmd.Context(), options, stdout)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&options.Binary, binaryFlag, besideThis("kvnode"), "path of kvnode")
	f.IntVar(&options.Nodes, "nodes", 3, "number of nodes")
	f.IntVar(&options.HTTPPort, "http-port", 8080, "HTTP port of the first node, the others follow; 0 for free ones")
	f.IntVar(&options.RESPPort, "resp-port", 7001, "port for Redis clients of the first node, the others follow; 0 for free ones")
	f.IntVar(&options.RaftPort, "raft-port", 9001, "Raft port of the first node, the others follow; 0 for free ones")
	f.StringVar(&dir, "dir", "", "where data and logs are kept (default: a temporary directory, removed at the end)")
	return cmd
}

const highestPort = 1<<16 - 1

// checkCluster returns an error that names each flag that cannot be used.
func checkCluster(o localcluster.Options) error {
	if o.Nodes < 1 {
		return fmt.Errorf("--nodes is %d: give at least 1", o.Nodes)
	}
	var errs []error
	for _, port := range []struct {
		flag  string
		first int
	}{{"--http-port", o.HTTPPort}, {"--resp-port", o.RESPPort}, {"--raft-port", o.RaftPort}} {
		if last := port.first + o.Nodes - 1; port.first < 0 || port.first > 0 && last > highestPort {
			errs = append(errs, fmt.Errorf("%s is %d: give 1 to %d for %d nodes, or 0 for free ports",
				port.flag, port.first, highestPort-o.Nodes+1, o.Nodes))
		}
	}
	return errors.Join(errs...)
}

func serveCluster(ctx context.Context, options localcluster.Options, stdout io.Writer) error {
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, tooSlow(startTimeout))
	defer cancel()
	c, err := localcluster.Start(starting, options)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.WaitInSync(starting); err != nil {
		return err
	}
	announce(stdout, c, options.Dir)
	c.Watch(ctx)
	stopping, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopTimeout, tooSlow(stopTimeout))
	defer cancel()
	return c.StopAll(stopping)
}

// announce prints how to use the cluster, and how to hurt it.
func announce(stdout io.Writer, c *localcluster.Cluster, dir string) {
	fmt.Fprintf(stdout, "A cluster of %d nodes is ready; Ctrl-C stops it. Data and logs: %s\n\n", len(c.Nodes()), dir)
	for _, n := range c.Nodes() {
		fmt.Fprintf(stdout, "  %s  http %s  redis %s  pid %d\n", n.ID, n.HTTPAddr, n.RESPAddr, n.PID())
	}
	kvctl := besideThis("kvctl")
	fmt.Fprintf(stdout, "\n  export KVCTL_ENDPOINTS=%s\n  %s cluster status\n  %s set greeting hello\n  %s get greeting\n",
		strings.Join(c.Endpoints(), ","), kvctl, kvctl, kvctl)
}

// inDir calls do with dir. An empty dir becomes a temporary one, which is kept
// only if do fails by itself.
func inDir(ctx context.Context, dir string, do func(dir string) error) error {
	if dir != "" {
		return do(dir)
	}
	dir, err := os.MkdirTemp("", "clusterkit-")
	if err != nil {
		return err
	}
	failure := do(dir)
	empty := os.Remove(dir) == nil
	if failure != nil && ctx.Err() == nil && !empty {
		return fmt.Errorf("%w\ndata and logs are kept in %s", failure, dir)
	}
	return errors.Join(failure, os.RemoveAll(dir))
}

const binaryFlag = "kvnode"

// findBinary returns the path of the program that --kvnode names.
func findBinary(name string) (path string, err error) {
	path, err = exec.LookPath(name)
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if err != nil {
		return "", fmt.Errorf("--%s is %q: %w; build kvnode, or give its path", binaryFlag, name, err)
	}
	return path, nil
}

// besideThis returns the path of a program that was built into the same
// directory as this one.
func besideThis(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	path := filepath.Join(filepath.Dir(self), name)
	if wd, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(short, "..") {
			return "." + string(filepath.Separator) + short
		}
	}
	return path
}
