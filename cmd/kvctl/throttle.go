package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func (k *kvctl) throttleCommand() *cobra.Command {
	var rate string
	var copies int
	var multiple float64
	var reset bool
	cmd := &cobra.Command{
		Use:   "throttle",
		Short: "Show, or change for all nodes, how much of them copies may take",
		Args:  cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&rate, "bytes-per-second", "", "how fast a node takes copies, and gives them, as 33554432 or 32MiB; 0 for no bound")
	f.IntVar(&copies, "copies", 0, "how many copies a node takes, and gives, at a time")
	f.Float64Var(&multiple, "p99-multiple", 0, "slow copies down while the slowest of 100 requests takes more than so many times what it takes otherwise; 0 for never")
	f.BoolVar(&reset, "reset", false, "have each node heed its own settings again")
	cmd.MarkFlagsMutuallyExclusive("reset", "bytes-per-second")
	cmd.MarkFlagsMutuallyExclusive("reset", "copies")
	cmd.MarkFlagsMutuallyExclusive("reset", "p99-multiple")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var change api.Throttle
		if f.Changed("bytes-per-second") {
			n, err := parseSize(rate)
			if err != nil {
				return usage(fmt.Errorf("--bytes-per-second is %q: %w", rate, err))
			}
			change.BytesPerSecond = &n
		}
		if f.Changed("copies") {
			change.Copies = &copies
		}
		if f.Changed("p99-multiple") {
			change.P99Multiple = &multiple
		}
		return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
			switch {
			case reset:
				_, err := a.call(ctx, http.MethodDelete, api.PathThrottle, nil, nil)
				return err
			case change != api.Throttle{}:
				_, err := a.call(ctx, http.MethodPut, api.PathThrottle, change, nil)
				return err
			default:
				l, err := a.withCopies(ctx, moves{})
				if err != nil {
					return err
				}
				l.warn(k.stderr)
				return printThrottles(k.stdout, l.nodes)
			}
		})
	}
	return cmd
}

// parseSize reads a number of bytes, with a unit or without.
func parseSize(s string) (int64, error) {
	number, unit := s, int64(1)
	for suffix, size := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = strings.TrimSpace(rest), size
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("give a whole number of bytes, or with KiB, MiB or GiB")
	}
	return n * unit, nil
}

func printThrottles(w io.Writer, nodes map[string]api.Migrations) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "NODE\tBOUND\tAT PRESENT\tCOPIES\tP99 MULTIPLE\tP99\tBASELINE\tSET BY")
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		t := nodes[id].Throttle
		by := "the node"
		if t.Override != nil {
			by = "the cluster"
		}
		multiple := "-"
		if t.P99Multiple > 0 {
			multiple = strconv.FormatFloat(t.P99Multiple, 'g', -1, 64)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", id, bound(t.BytesPerSecond), bound(t.Rate), t.Copies, multiple, milliseconds(t.P99), milliseconds(t.Baseline), by)
	}
	return tw.Flush()
}

func bound(rate int64) string {
	if rate == 0 {
		return "none"
	}
	return size(float64(rate)) + "/s"
}

func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", seconds*1000)
}
