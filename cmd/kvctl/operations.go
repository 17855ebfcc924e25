package main

import (
	"bytes"
	"context"
	"encoding/json"
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
					err = api.ErrNotFound
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
		Args:  cobra.MinimumNArgs(1),
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
