package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func (k *kvctl) migrationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migration",
		Short: "Show, pause, resume and slow down the moves of copies and primaries",
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
		k.throttleCommand(),
		post("pause", "Leave all copies where they are, and hold those that are being made, unless a partition has too few", "/moves/pause"),
		post("resume", "End a pause", "/moves/resume"),
		post("cancel", "Pause, and give up every copy that is being made", "/moves/cancel"),
	)
	return cmd
}

func (k *kvctl) migrationListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List what is left to be moved, how far it is, and why it waits",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				l, err := a.migrations(ctx)
				if err != nil {
					return err
				}
				l.warn(k.stderr)
				return l.print(k.stdout)
			})
		},
	}
}
