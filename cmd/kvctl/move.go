package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func (k *kvctl) partitionMoveCommand() *cobra.Command {
	var change struct {
		From    string `json:"from,omitempty"`
		To      string `json:"to,omitempty"`
		Primary string `json:"primary,omitempty"`
	}
	cmd := &cobra.Command{
		Use:   "move PARTITION [--from NODE --to NODE] [--primary NODE]",
		Short: "Move a copy of a partition to another node, or the primary to another copy",
		Long: `Move a copy of a partition to another node, or the primary to another copy.
The command returns when the change is ordered; kvctl migration ls shows how far
it is. It is refused where it would do harm, and says why.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case (change.From == "") != (change.To == ""):
				return errors.New("--from and --to belong together")
			case change.From == "" && change.Primary == "":
				return errors.New("give --from and --to, --primary, or all")
			}
			return named("PARTITION")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				var moved struct {
					Desired       []string `json:"desired"`
					UntilNextPlan bool     `json:"until_next_plan"`
				}
				if _, err := a.call(ctx, http.MethodPost, "/partitions/"+url.PathEscape(args[0])+"/move", change, &moved); err != nil {
					return err
				}
				if len(moved.Desired) > 0 {
					moved.Desired[0] += " (the primary)"
				}
				fmt.Fprintf(k.stdout, "%s is wanted on %s\n", args[0], strings.Join(moved.Desired, ", "))
				if moved.UntilNextPlan {
					fmt.Fprintln(k.stdout, "The nodes are not level with that: it lasts until the next plan, when a node comes or goes.")
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&change.From, "from", "", "node that gives its copy away")
	f.StringVar(&change.To, "to", "", "node that gets it")
	f.StringVar(&change.Primary, "primary", "", "node with a copy that is to be the primary")
	return cmd
}
