package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// lookEvery is how often a command that waits looks at the cluster.
const lookEvery = 200 * time.Millisecond

// health is what counts of GET /partitions/stats.
type health struct {
	Partitions      int `json:"partitions"`
	WithoutPrimary  int `json:"without_primary"`
	UnderReplicated int `json:"under_replicated"`
	Moving          int `json:"moving"`
}

// goal is what can be waited for.
type goal struct {
	// missing says what is, "" if nothing.
	missing func(health) string
	// looks is how often in a row nothing may be missing.
	looks int
}

var goals = map[string]goal{
	"healthy": {looks: 1, missing: func(h health) string {
		switch {
		case h.WithoutPrimary > 0:
			return fmt.Sprintf("%d of %d partitions have no living primary", h.WithoutPrimary, h.Partitions)
		case h.UnderReplicated > 0:
			return fmt.Sprintf("%d of %d partitions have too few living copies in sync", h.UnderReplicated, h.Partitions)
		}
		return ""
	}},
	// A change of a node, such as of its weight, is in the map for a moment
	// before what follows from it, and the planner reviews the map every half a
	// second at least.
	"balanced": {looks: 4, missing: func(h health) string {
		if h.Moving > 0 {
			return fmt.Sprintf("%d of %d partitions are not where they should be", h.Moving, h.Partitions)
		}
		return ""
	}},
}

func (k *kvctl) waitCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the cluster is healthy, or balanced; exit code 5 if it is not within --timeout",
		Args: func(cmd *cobra.Command, args []string) error {
			if _, ok := goals[name]; !ok {
				return fmt.Errorf("--for is %q: give healthy or balanced", name)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error { return a.waitFor(ctx, goals[name]) })
		},
	}
	cmd.Flags().StringVar(&name, "for", "healthy", "healthy or balanced")
	return cmd
}

func (a *admin) waitFor(ctx context.Context, g goal) error {
	reason := "no node answered"
	for looks := 0; ; {
		var h health
		if _, err := a.call(ctx, http.MethodGet, "/partitions/stats", nil, &h); err == nil {
			looks++
			if reason = g.missing(h); reason != "" {
				looks = 0
			} else if looks == g.looks {
				return nil
			}
		} else if !errors.Is(err, errAskAgain) && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", errUnhealthy, cmp.Or(reason, "it has not been so for long enough"))
		case <-time.After(lookEvery):
		}
	}
}
