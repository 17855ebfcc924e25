package main

import (
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

// goals are what can be waited for: each says what is missing, "" if nothing.
var goals = map[string]func(health) string{
	"healthy": func(h health) string {
		switch {
		case h.WithoutPrimary > 0:
			return fmt.Sprintf("%d of %d partitions have no living primary", h.WithoutPrimary, h.Partitions)
		case h.UnderReplicated > 0:
			return fmt.Sprintf("%d of %d partitions have too few living copies in sync", h.UnderReplicated, h.Partitions)
		}
		return ""
	},
	"balanced": func(h health) string {
		if h.Moving > 0 {
			return fmt.Sprintf("%d of %d partitions are not where they should be", h.Moving, h.Partitions)
		}
		return ""
	},
}

func (k *kvctl) waitCommand() *cobra.Command {
	var goal string
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the cluster is healthy, or balanced; exit code 5 if it is not within --timeout",
		Args: func(cmd *cobra.Command, args []string) error {
			if goals[goal] == nil {
				return fmt.Errorf("--for is %q: give healthy or balanced", goal)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error { return a.waitFor(ctx, goals[goal]) })
		},
	}
	cmd.Flags().StringVar(&goal, "for", "healthy", "healthy or balanced")
	return cmd
}

func (a *admin) waitFor(ctx context.Context, missing func(health) string) error {
	reason := "no node answered"
	for {
		var h health
		if _, err := a.call(ctx, http.MethodGet, "/partitions/stats", nil, &h); err == nil {
			if reason = missing(h); reason == "" {
				return nil
			}
		} else if !errors.Is(err, errAskAgain) && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", errUnhealthy, reason)
		case <-time.After(lookEvery):
		}
	}
}
