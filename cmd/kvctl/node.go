package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// node is one entry of GET /nodes.
type node struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	IP          string            `json:"ip"`
	RaftAddr    string            `json:"raft_addr"`
	Services    map[string]string `json:"services,omitempty"`
	Zone        string            `json:"zone,omitempty"`
	Weight      int               `json:"weight"`
	Draining    bool              `json:"draining,omitempty"`
	Store       string            `json:"store"`
	RaftID      string            `json:"raft_id"`
	Incarnation uint64            `json:"incarnation"`
	Alive       bool              `json:"alive"`
}

// load is one entry of the nodes of GET /partitions/stats.
type load struct {
	Node      string `json:"node"`
	Primaries int    `json:"primaries"`
	Replicas  int    `json:"replicas"`
	Learners  int    `json:"learners"`
}

func (l load) copies() int { return l.Primaries + l.Replicas + l.Learners }

func (k *kvctl) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "List, drain, weigh and remove nodes",
		Args:  needsCommand,
		Run:   func(*cobra.Command, []string) {},
	}
	cmd.AddCommand(
		k.nodeListCommand(),
		k.nodeDescribeCommand(),
		k.onNodeCommand("drain", "Move all copies of a node to others, and give it no new ones", http.MethodPost, "/drain"),
		k.onNodeCommand("undrain", "End a drain", http.MethodPost, "/undrain"),
		k.decommissionCommand(),
		k.onNodeCommand("remove", "Remove a node for good: one that is empty, or down", http.MethodDelete, ""),
		k.weightCommand(),
	)
	return cmd
}

func (k *kvctl) nodeListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the nodes and what they hold",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				nodes, loads, err := a.nodes(ctx)
				if err != nil {
					return err
				}
				return printNodes(k.stdout, nodes, loads)
			})
		},
	}
}

// nodes returns the nodes, and what each holds by its ID.
func (a *admin) nodes(ctx context.Context) ([]node, map[string]load, error) {
	var list struct {
		Nodes []node `json:"nodes"`
	}
	var stats struct {
		Nodes []load `json:"nodes"`
	}
	if _, err := a.call(ctx, http.MethodGet, "/nodes", nil, &list); err != nil {
		return nil, nil, err
	}
	if _, err := a.call(ctx, http.MethodGet, "/partitions/stats", nil, &stats); err != nil {
		return nil, nil, err
	}
	loads := make(map[string]load, len(stats.Nodes))
	for _, l := range stats.Nodes {
		loads[l.Node] = l
	}
	return list.Nodes, loads, nil
}

func printNodes(w io.Writer, nodes []node, loads map[string]load) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "NODE\tADDRESS\tSTATE\tZONE\tWEIGHT\tPRIMARIES\tREPLICAS\tLEARNERS")
	for _, n := range nodes {
		l := loads[n.ID]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", n.ID, n.IP, n.state(l), orDash(n.Zone), n.Weight, l.Primaries, l.Replicas, l.Learners)
	}
	return tw.Flush()
}

func (n node) state(l load) string {
	switch {
	case !n.Alive:
		return "DOWN"
	case n.Draining && l.copies() == 0:
		return "drained"
	case n.Draining:
		return "draining"
	default:
		return "up"
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (k *kvctl) nodeDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe NODE",
		Short: "Show all that is known of a node, in JSON",
		Args:  named("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				var n node
				if _, err := a.call(ctx, http.MethodGet, nodePath(args[0]), nil, &n); err != nil {
					return err
				}
				enc := json.NewEncoder(k.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(n)
			})
		},
	}
}

func nodePath(id string) string { return "/nodes/" + url.PathEscape(id) }

// onNodeCommand is a command that is one request.
func (k *kvctl) onNodeCommand(name, short, method, suffix string) *cobra.Command {
	return &cobra.Command{
		Use:   name + " NODE",
		Short: short,
		Args:  named("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				_, err := a.call(ctx, method, nodePath(args[0])+suffix, nil, nil)
				return err
			})
		},
	}
}

func (k *kvctl) weightCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "weight NODE WEIGHT",
		Short: "Change the capacity of a node relative to the others', 1 to 1000",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := named("NODE", "WEIGHT")(cmd, args); err != nil {
				return err
			}
			if _, err := strconv.Atoi(args[1]); err != nil {
				return fmt.Errorf("WEIGHT is %q: give a whole number", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			weight, _ := strconv.Atoi(args[1])
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				_, err := a.call(ctx, http.MethodPut, nodePath(args[0])+"/weight", map[string]int{"weight": weight}, nil)
				return err
			})
		},
	}
}

func (k *kvctl) decommissionCommand() *cobra.Command {
	wait := time.Hour
	cmd := &cobra.Command{
		Use:   "decommission NODE",
		Short: "Drain a node, wait until it is empty, and remove it",
		Args:  named("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			return k.asAdmin(ctx, func(ctx context.Context, a *admin) error { return a.decommission(ctx, k.stderr, args[0]) })
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", wait, "how long to wait; the drain goes on in any case")
	return cmd
}

// decommission repeats the request, which waits for a few seconds each time,
// and tells how much is left. It is of the node that has the ID now: none of the
// requests hits another that joins under it when this one has been removed.
func (a *admin) decommission(ctx context.Context, progress io.Writer, id string) error {
	var meant node
	switch _, err := a.call(ctx, http.MethodGet, nodePath(id), nil, &meant); {
	case errors.As(err, new(*absent)):
		// It may have been removed already. No node has this name: one that joins
		// under the ID now is another.
		meant.RaftID = id + "/"
	case err != nil:
		return err
	}
	told := -1
	for {
		var left struct {
			Copies int `json:"copies"`
		}
		status, err := a.call(ctx, http.MethodPost, nodePath(meant.RaftID)+"/decommission?timeout=5s", nil, &left)
		if err != nil || status != http.StatusAccepted {
			return err
		}
		if left.Copies != told {
			told = left.Copies
			fmt.Fprintf(progress, "%s still holds %d copies\n", id, left.Copies)
		}
	}
}
