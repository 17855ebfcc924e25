package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

func (k *kvctl) clusterCommand() *cobra.Command {
	cluster := &cobra.Command{
		Use:   "cluster",
		Short: "Show the cluster, or wait for it",
		Args:  needsCommand,
		Run:   func(*cobra.Command, []string) {},
	}
	cluster.AddCommand(k.statusCommand(), k.waitCommand())
	return cluster
}

func (k *kvctl) statusCommand() *cobra.Command {
	var output string
	print := map[string]func(io.Writer, *client.Status) error{"table": printTable, "json": printJSON}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes and partitions; exit code 5 without a leader, with a dead node or a partition that takes no writes",
		Args: func(cmd *cobra.Command, args []string) error {
			if print[output] == nil {
				return fmt.Errorf("--output is %q: give table or json", output)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				status, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if err := print[output](k.stdout, status); err != nil {
					return err
				}
				return diagnose(status)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

const noLeader = "The control plane has no leader: this is the last known state"

// diagnose returns errUnhealthy, with the reason, for a cluster without a
// leader, or in which a node is dead or a partition takes no writes.
func diagnose(s *client.Status) error {
	if s.Leader == "" {
		return fmt.Errorf("%w: the control plane has no leader", errUnhealthy)
	}
	for _, n := range s.Nodes {
		if !n.Alive {
			return fmt.Errorf("%w: %s is dead", errUnhealthy, n.ID)
		}
	}
	for _, p := range s.Partitions {
		if s.Health(p) == client.Unavailable {
			return fmt.Errorf("%w: %s has no living primary, or fewer copies in sync than writes need (%d)", errUnhealthy, p.ID, s.MinInSync)
		}
	}
	return nil
}

// tally is what the partitions amount to.
type tally struct {
	// primaries and replicas are counted by node; a primary is no replica.
	primaries, replicas map[string]int
	health              map[client.Health]int
}

func count(s *client.Status) tally {
	t := tally{primaries: map[string]int{}, replicas: map[string]int{}, health: map[client.Health]int{}}
	for _, p := range s.Partitions {
		t.primaries[p.Primary]++
		for _, m := range p.Members {
			if m.Node != p.Primary {
				t.replicas[m.Node]++
			}
		}
		t.health[s.Health(p)]++
	}
	return t
}

func printTable(w io.Writer, s *client.Status) error {
	t := count(s)
	if s.Leader == "" {
		fmt.Fprintf(w, "%s\n\n", noLeader)
	}
	fmt.Fprintf(w, "Cluster %s (%s), map version %d, replication factor %d, min in sync %d\n\n",
		s.ClusterName, s.ClusterUUID, s.Version, s.ReplicationFactor, s.MinInSync)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "NODE\tADDRESS\tALIVE\tLEADER\tPRIMARIES\tREPLICAS")
	nodes := slices.SortedFunc(slices.Values(s.Nodes), func(a, b client.Node) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range nodes {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\n",
			n.ID, n.IP, mark(n.Alive, "yes", "NO"), mark(n.ID == s.Leader, "yes", "-"), t.primaries[n.ID], t.replicas[n.ID])
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if s.Leader == "" {
		_, err := fmt.Fprintf(w, "\nPartitions: %d unknown\n", t.health[client.Unknown])
		return err
	}
	_, err := fmt.Fprintf(w, "\nPartitions: %d healthy, %d under-replicated, %d unavailable\n",
		t.health[client.Healthy], t.health[client.UnderReplicated], t.health[client.Unavailable])
	return err
}

func mark(condition bool, is, isNot string) string {
	if condition {
		return is
	}
	return isNot
}

// printJSON prints the status with the health of each partition, and with a
// warning if it is not the current one.
func printJSON(w io.Writer, s *client.Status) error {
	type partition struct {
		client.Partition
		Health client.Health `json:"health"`
	}
	out := struct {
		Warning string `json:"warning,omitempty"`
		*client.Status
		Partitions []partition `json:"partitions"`
	}{Status: s, Partitions: []partition{}}
	if s.Leader == "" {
		out.Warning = noLeader
	}
	for _, p := range s.Partitions {
		out.Partitions = append(out.Partitions, partition{p, s.Health(p)})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
