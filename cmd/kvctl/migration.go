package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// moves is the answer to GET /moves.
type moves struct {
	Version uint64 `json:"version"`
	Paused  bool   `json:"paused"`
	Moves   []struct {
		Partition string `json:"partition"`
		Kind      string `json:"kind"`
		Node      string `json:"node"`
		From      string `json:"from"`
		Waiting   string `json:"waiting"`
	} `json:"moves"`
}

func (k *kvctl) migrationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migration",
		Short: "Show, pause and resume the moves of copies and primaries",
		Args:  needsCommand,
		Run:   func(*cobra.Command, []string) {},
	}
	post := func(name, short, path string) *cobra.Command {
		return &cobra.Command{
			Use: name, Short: short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
					_, err := a.call(ctx, http.MethodPost, path, nil, nil)
					return err
				})
			},
		}
	}
	cmd.AddCommand(
		k.migrationListCommand(),
		k.migrationWatchCommand(),
		post("pause", "Leave all copies where they are, but replace those that are lost", "/moves/pause"),
		post("resume", "End a pause", "/moves/resume"),
		post("cancel", "Pause, and give up every copy that is being made", "/moves/cancel"),
	)
	return cmd
}

func (k *kvctl) migrationListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List what is left to be moved, and why it waits",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				var m moves
				if _, err := a.call(ctx, http.MethodGet, "/moves", nil, &m); err != nil {
					return err
				}
				return printMoves(k.stdout, m)
			})
		},
	}
}

func printMoves(w io.Writer, m moves) error {
	if m.Paused {
		fmt.Fprintln(w, "Moves are paused.")
	}
	if len(m.Moves) == 0 {
		_, err := fmt.Fprintln(w, "Everything is where it should be.")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "PARTITION\tMOVE\tNODE\tFROM\tWAITS BECAUSE")
	for _, v := range m.Moves {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", v.Partition, v.Kind, v.Node, orDash(v.From), orDash(v.Waiting))
	}
	return tw.Flush()
}

func (k *kvctl) migrationWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Show the moves as they go on, until nothing is left",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.asAdmin(cmd.Context(), func(ctx context.Context, a *admin) error { return a.watchMoves(ctx, k.stdout) })
		},
	}
}

// watchMoves prints how much is left whenever the map has changed.
func (a *admin) watchMoves(ctx context.Context, w io.Writer) error {
	const wait = 30 * time.Second
	for version := uint64(0); ; {
		query := url.Values{"version": {strconv.FormatUint(version, 10)}, "wait": {wait.String()}}
		var m moves
		attempt, cancel := context.WithTimeout(ctx, wait+adminAttempt)
		_, err := a.call(attempt, http.MethodGet, "/moves?"+query.Encode(), nil, &m)
		cancel()
		if err != nil {
			return err
		}
		if m.Version <= version {
			continue
		}
		version = m.Version
		waiting := 0
		for _, v := range m.Moves {
			if v.Waiting != "" {
				waiting++
			}
		}
		paused := ""
		if m.Paused {
			paused = ", paused"
		}
		if _, err := fmt.Fprintf(w, "map %d: %d moves left, %d of them waiting%s\n", m.Version, len(m.Moves), waiting, paused); err != nil || len(m.Moves) == 0 {
			return err
		}
	}
}
