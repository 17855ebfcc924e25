package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

func (k *kvctl) incrCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "incr KEY [DELTA]",
		Short:   "Add to a number, 1 if not said otherwise, and print the sum",
		Example: "  kvctl incr visits\n  kvctl incr -- stock -5",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return named("KEY")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			delta := int64(1)
			if len(args) == 2 {
				var err error
				if delta, err = strconv.ParseInt(args[1], 10, 64); err != nil {
					return fmt.Errorf("%w: DELTA is %q: give a whole number of 64 bits", errUsage, args[1])
				}
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				sum, err := c.Increment(ctx, args[0], delta)
				if err == nil {
					_, err = fmt.Fprintln(k.stdout, sum)
				}
				return err
			})
		},
	}
}

func (k *kvctl) appendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "append KEY VALUE",
		Short: "Append to a value; VALUE - reads from standard input",
		Args:  named("KEY", "VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := k.keyAndValue(cmd.Context(), args)
			if err != nil {
				return err
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				_, err := c.Append(ctx, args[0], value)
				return err
			})
		},
	}
}

func (k *kvctl) expireCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "expire KEY TTL",
		Short:   "Let a value expire after a time, 0 for never; exit code 3 if there is none",
		Example: "  kvctl expire session 30m",
		Args:    named("KEY", "TTL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			ttl, err := time.ParseDuration(args[1])
			if err != nil || ttl < 0 || ttl > 0 && ttl < time.Millisecond {
				return fmt.Errorf("%w: TTL is %q: give a millisecond or more, like 30m, or 0", errUsage, args[1])
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				found, err := c.Expire(ctx, args[0], ttl)
				if err == nil && !found {
					err = fmt.Errorf("expire %q: %w", args[0], api.ErrNotFound)
				}
				return err
			})
		},
	}
}

// keyed is a result and the key that it is of.
type keyed struct {
	Key string `json:"key"`
	api.Result
}

func (k *kvctl) mgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mget KEY...",
		Short: "Print values, one JSON object in a line for each key, the values in base64",
		Args: func(cmd *cobra.Command, args []string) error {
			return named("KEY")(cmd, args[:min(len(args), 1)])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, key := range args {
				if err := usage(client.CheckKey(key)); err != nil {
					return err
				}
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				results, err := c.MGet(ctx, args...)
				if err != nil {
					return err
				}
				out := json.NewEncoder(k.stdout)
				for i, r := range results {
					if err := out.Encode(keyed{args[i], r}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// maxBatchInput is what the largest batch takes in JSON, and room for spaces.
const maxBatchInput = 2 * api.MaxBatchBytes

func (k *kvctl) batchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "batch",
		Short: "Execute a batch in JSON from standard input, as a whole or not at all, and print its results",
		Long: "Execute a batch in JSON from standard input, as a whole or not at all, and print its results.\n\n" +
			"Its form is that of the HTTP API, keys and values in base64. All keys must be of one partition, as those\n" +
			"with the same {tag} are.",
		Example: `  echo '{"commands":[{"op":"increment","key":"e2F9bg==","delta":1},{"op":"get","key":"e2F9bg=="}]}' | kvctl batch`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			input, err := k.readInput(cmd.Context(), maxBatchInput)
			if err != nil {
				return fmt.Errorf("read the batch from standard input: %w", err)
			}
			var b struct {
				Commands []api.Command `json:"commands"`
			}
			decoder := json.NewDecoder(bytes.NewReader(input))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&b); err != nil {
				return fmt.Errorf("%w: standard input is no batch in JSON: %w", errUsage, err)
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				results, err := c.Batch(ctx, b.Commands...)
				if err != nil {
					return err
				}
				return json.NewEncoder(k.stdout).Encode(api.BatchAnswer{Results: results})
			})
		},
	}
}

func (k *kvctl) scanCommand() *cobra.Command {
	var output string
	var o client.ScanOptions
	var limit int
	cmd := &cobra.Command{
		Use:   "scan [PREFIX]",
		Short: "Print the keys that begin with a prefix, or all, a line for each, partition after partition",
		Long: "Print the keys that begin with a prefix, or all, partition after partition.\n\n" +
			"Each partition is shown as it was at one instant; --timeout bounds each of the many requests. Keys in lines are quoted if they are not plain text.",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case output != "keys" && output != "json":
				return fmt.Errorf("--output is %q: give keys or json", output)
			case limit < 0:
				return fmt.Errorf("--limit is %d: give 1 or more, or 0 for all", limit)
			}
			return cobra.MaximumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) == 1 {
				prefix = args[0]
			}
			return k.withClient(cmd.Context(), func(_ context.Context, c *client.Client) error {
				out, n := json.NewEncoder(k.stdout), 0
				for item, err := range c.Scan(cmd.Context(), prefix, o) {
					if errors.Is(err, api.ErrSnapshotGone) {
						return fmt.Errorf("%w: begin again, or give --newer to go on with a newer one", err)
					} else if err != nil {
						return err
					}
					if output == "json" {
						err = out.Encode(scanned{[]byte(item.Key), api.Result{Found: true, Value: item.Data, Version: item.Version, TTL: item.TTL.Milliseconds()}})
					} else {
						_, err = fmt.Fprintln(k.stdout, plain(item.Key))
					}
					if n++; err != nil || n == limit {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "keys", "keys, or json with keys and values in base64, versions and what is left of their time")
	cmd.Flags().IntVar(&limit, "limit", 0, "how many keys to print at most, 0 for all")
	cmd.Flags().BoolVar(&o.Newer, "newer", false, "go on with a newer snapshot if one is lost, as when a partition moves, rather than fail")
	return cmd
}

// scanned is an item of a scan; its key may be any bytes.
type scanned struct {
	Key []byte `json:"key"`
	api.Result
}

// plain returns the key as it is if it is a line of plain text, else quoted.
func plain(key string) string {
	if quoted := strconv.Quote(key); quoted != `"`+key+`"` {
		return quoted
	}
	return key
}
