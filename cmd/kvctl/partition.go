package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

func (k *kvctl) partitionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "partition",
		Short: "List, verify and move partitions, and show what a rebalance would do",
		Args:  needsCommand,
		Run:   func(*cobra.Command, []string) {},
	}
	cmd.AddCommand(k.partitionListCommand(), k.partitionDescribeCommand(), k.partitionMoveCommand(), k.partitionVerifyCommand(), k.rebalanceCommand())
	return cmd
}

func (k *kvctl) partitionListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the partitions and where their copies are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				status, err := c.Status(ctx)
				if err != nil {
					return err
				}
				return printPartitions(k.stdout, status)
			})
		},
	}
}

func printPartitions(w io.Writer, s *client.Status) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "PARTITION\tHEALTH\tEPOCH\tPRIMARY\tREPLICAS\tLEARNERS")
	for _, p := range s.Partitions {
		inSync := make(map[client.Member]bool)
		for _, m := range p.InSync {
			inSync[m] = true
		}
		var replicas, learners []string
		for _, m := range p.Members {
			switch {
			case !inSync[m]:
				learners = append(learners, m.Node)
			case m.Node != p.Primary:
				replicas = append(replicas, m.Node)
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%s\n", p.ID, s.Health(p), p.Epoch, orDash(p.Primary), orDash(strings.Join(replicas, ",")), orDash(strings.Join(learners, ",")))
	}
	return tw.Flush()
}

func (k *kvctl) partitionDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe PARTITION",
		Short: "Show all that is known of a partition, in JSON",
		Args:  named("PARTITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				var list struct {
					Partitions []json.RawMessage `json:"partitions"`
				}
				if _, err := a.call(ctx, http.MethodGet, "/partitions", nil, &list); err != nil {
					return err
				}
				for _, raw := range list.Partitions {
					var p struct {
						ID string `json:"id"`
					}
					if err := json.Unmarshal(raw, &p); err == nil && p.ID == args[0] {
						enc := json.NewEncoder(k.stdout)
						enc.SetIndent("", "  ")
						return enc.Encode(raw)
					}
				}
				return api.Errorf(api.CodeNotFound, "there is no partition %q: they are partition-0 to partition-%d", args[0], len(list.Partitions)-1)
			})
		},
	}
}

// plan is the answer to POST /moves/plan.
type plan struct {
	Rounds [][]step `json:"rounds"`
	Copies int      `json:"copies"`
	Nodes  []struct {
		Node      string `json:"node"`
		Primaries int    `json:"primaries"`
		Copies    int    `json:"copies"`
	} `json:"nodes"`
}

type step struct {
	Partition string `json:"partition"`
	Kind      string `json:"kind"`
	Node      string `json:"node"`
}

func (k *kvctl) rebalanceCommand() *cobra.Command {
	var dryRun bool
	var changes struct {
		Drain   []string       `json:"drain,omitempty"`
		Remove  []string       `json:"remove,omitempty"`
		Weights map[string]int `json:"weights,omitempty"`
	}
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Resume moves and plan them anew, or show with --dry-run what would be done",
		Args: func(cmd *cobra.Command, args []string) error {
			if !dryRun && (len(changes.Drain) > 0 || len(changes.Remove) > 0 || len(changes.Weights) > 0) {
				return fmt.Errorf("--drain, --remove and --weight go with --dry-run; use kvctl node to do it")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				if !dryRun {
					_, err := a.call(ctx, http.MethodPost, "/moves/resume", nil, nil)
					return err
				}
				var p plan
				if _, err := a.call(ctx, http.MethodPost, "/moves/plan", changes, &p); err != nil {
					return err
				}
				return printPlan(k.stdout, p)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "show what would be done, and change nothing")
	f.StringSliceVar(&changes.Drain, "drain", nil, "with --dry-run: as if these nodes were drained")
	f.StringSliceVar(&changes.Remove, "remove", nil, "with --dry-run: as if these nodes were removed")
	f.StringToIntVar(&changes.Weights, "weight", nil, "with --dry-run: as if nodes had these weights, NODE=WEIGHT,...")
	return cmd
}

func printPlan(w io.Writer, p plan) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if len(p.Rounds) > 0 {
		fmt.Fprintln(tw, "ROUND\tPARTITION\tSTEP\tNODE")
	}
	for i, round := range p.Rounds {
		for _, s := range round {
			fmt.Fprintf(tw, "%d\t%s\t%s\t%s\n", i+1, s.Partition, s.Kind, s.Node)
		}
	}
	if len(p.Rounds) > 0 {
		fmt.Fprintln(tw)
	}
	fmt.Fprintln(tw, "NODE\tPRIMARIES\tCOPIES")
	for _, n := range p.Nodes {
		fmt.Fprintf(tw, "%s\t%d\t%d\n", n.Node, n.Primaries, n.Copies)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d copies would be made\n", p.Copies)
	return err
}
