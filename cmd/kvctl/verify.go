package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// verifyTimeout bounds the verification of one partition, of which every copy is
// read at a limited rate, unless --timeout is given.
const verifyTimeout = time.Hour

func (k *kvctl) partitionVerifyCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify PARTITION | --all",
		Short: "Compare the in-sync copies of partitions with one another and with what is on their disks",
		Long: `Compare the in-sync copies of partitions with one another and with what is on
their disks, while they serve. For each partition it may take as long as reading
its largest copy at 32 MiB/s. --timeout, if it is given, bounds one partition.

A copy that is damaged is made anew from the others. So is one that differs from
the primary's, if most copies agree with that. Where the primary differs from the
others, move it to one that is right (kvctl partition move) and verify again.`,
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return errors.New("give one partition, like partition-5, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := k.checkTimeout(); err != nil {
				return err
			}
			each := verifyTimeout
			if cmd.Flags().Changed("timeout") {
				each = k.timeout
			}
			c, err := client.New(client.Config{Endpoints: k.endpoints, Timeout: each})
			if err != nil {
				return fmt.Errorf("%w: --endpoints or %s: %w", errUsage, endpointsVar, err)
			}
			defer c.Close()
			if all {
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				for _, p := range status.Partitions {
					args = append(args, p.ID)
				}
			}
			return verifyAll(cmd.Context(), k.stdout, c, args)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "verify all partitions, one after the other")
	return cmd
}

const verifyRow = "%-14s  %-12s  %-16s  %-13s  %10v  %-16s  %s\n"

// verifyAll goes on after a partition that is not well, or cannot be verified,
// and returns the first error then.
func verifyAll(ctx context.Context, w io.Writer, c *client.Client, partitions []string) error {
	heading := sync.OnceFunc(func() {
		fmt.Fprintf(w, verifyRow, "PARTITION", "POSITION", "NODE", "STATE", "ITEMS", "DIGEST", "")
	})
	row := func(cells ...any) {
		heading()
		fmt.Fprintf(w, verifyRow, cells...)
	}
	var first error
	for _, id := range partitions {
		v, err := c.Verify(ctx, id)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, api.ErrNotFound) {
				return err
			}
			row(id, "-", "-", "not verified", "-", "-", err)
		}
		for _, copied := range v.Copies {
			row(id, v.Position, copied.Node, copied.State, copied.Items, orDash(copied.Digest), remark(copied))
		}
		if err == nil && !v.OK {
			err = fmt.Errorf("%s: %w", id, errUnequal)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// remark says what is to be said of a copy beside its state.
func remark(c api.VerifiedCopy) string {
	said := c.Detail
	if c.Primary {
		said = "primary " + said
	}
	if c.Remade {
		said += " (it is made anew)"
	}
	return said
}
