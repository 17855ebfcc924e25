package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/workload"
)

// What kvctl takes for the nodes, so that both mean the same cluster.
const (
	endpointsVar     = "KVCTL_ENDPOINTS"
	defaultEndpoints = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"
)

func runCommand(getenv func(string) string, stdout io.Writer) *cobra.Command {
	var (
		cfg       = workload.Defaults()
		endpoints []string
		timeout   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Load a running cluster for a while, then read every acknowledged key back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return &exitError{exitUsage, err}
			}
			targets, closeAll, err := connect(endpoints, timeout)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			defer closeAll()
			fmt.Fprintf(stdout, "%-11s%s for %s\n", "load", describe(cfg), cfg.Duration)
			result, err := workload.Run(cmd.Context(), cfg, targets...)
			if err != nil {
				return err
			}
			if _, err := result.WriteTo(stdout); err != nil {
				return err
			}
			return verdictError(result)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&endpoints, "endpoints", strings.Split(cmp.Or(getenv(endpointsVar), defaultEndpoints), ","), "nodes, as host:port,... (environment: "+endpointsVar+")")
	f.IntVar(&cfg.Clients, "clients", cfg.Clients, "operations at the same time")
	f.IntVar(&cfg.Keys, "keys", cfg.Keys, "keys in use")
	f.IntVar(&cfg.ValueSize, "value-size", cfg.ValueSize, "bytes in a value")
	f.Float64Var(&cfg.ReadRatio, "read-ratio", cfg.ReadRatio, "share of reads, 0 to less than 1")
	f.DurationVar(&cfg.Duration, "duration", cfg.Duration, "time under load")
	f.DurationVar(&cfg.VerifyTimeout, "verify-timeout", cfg.VerifyTimeout, "bound of the reading back")
	f.DurationVar(&timeout, "timeout", 10*time.Second, "bound of one operation with its retries")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "makes the choice of operations and keys repeatable")
	return cmd
}

func describe(cfg workload.Config) string {
	return fmt.Sprintf("%d clients, %d keys, values of %d bytes, %.0f%% reads", cfg.Clients, cfg.Keys, cfg.ValueSize, cfg.ReadRatio*100)
}

// connect returns one client for each endpoint. Each begins with its own, so
// that the load meets all nodes, and turns to the others when that one fails.
func connect(endpoints []string, timeout time.Duration) (targets []workload.KV, closeAll func(), err error) {
	var clients []*client.Client
	closeAll = func() {
		for _, c := range clients {
			c.Close()
		}
	}
	if timeout <= 0 {
		return nil, nil, fmt.Errorf("timeout is %v: give more than 0", timeout)
	}
	if len(endpoints) == 0 {
		return nil, nil, errors.New("endpoints is empty: give at least one node as host:port")
	}
	for i := range endpoints {
		c, err := client.New(client.Config{
			Endpoints: slices.Concat(endpoints[i:], endpoints[:i]),
			Timeout:   timeout,
		})
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, c)
		targets = append(targets, c)
	}
	return targets, closeAll, nil
}

// verdictError is nil for a run that passed.
func verdictError(r *workload.Result) error {
	switch r.Verdict() {
	case workload.Passed:
		return nil
	case workload.Violated:
		return &exitError{exitFailed, fmt.Errorf("%d reads contradict what was acknowledged", len(r.Violations))}
	case workload.Interrupted:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	default:
		return &exitError{exitUnavailable, errors.New("the cluster was not available: no verdict")}
	}
}
