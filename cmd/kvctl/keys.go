package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

func (k *kvctl) setCommand() *cobra.Command {
	var when condition
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:     "set KEY VALUE",
		Short:   "Store a value; VALUE - reads it from standard input",
		Example: "  kvctl set greeting hello\n  kvctl set photo - < photo.jpg\n  kvctl set --if-absent --ttl 30s lock me",
		Args:    named("KEY", "VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := k.keyAndValue(cmd.Context(), args)
			if err != nil {
				return err
			}
			o, err := when.options()
			if err != nil {
				return err
			}
			if ttl < 0 || ttl > 0 && ttl < time.Millisecond {
				return fmt.Errorf("%w: --ttl is %v: give a millisecond or more", errUsage, ttl)
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
				if o.If == api.IfAny && ttl == 0 {
					_, err = c.Set(ctx, args[0], value)
				} else {
					o.TTL = ttl
					_, err = c.SetWith(ctx, args[0], value, o)
				}
				return err
			})
		},
	}
	when.register(cmd)
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "let the value expire after this time (default: never)")
	return cmd
}

// condition is on what a write depends.
type condition struct {
	version         string
	absent, present bool
}

func (w *condition) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.version, "if-version", "", "only if the value has this version; get --output json tells it")
	f.BoolVar(&w.absent, "if-absent", false, "only if there is no value")
	f.BoolVar(&w.present, "if-present", false, "only if there is a value")
}

func (w *condition) options() (o client.SetOptions, err error) {
	switch {
	case w.version != "" && (w.absent || w.present), w.absent && w.present:
		return o, fmt.Errorf("%w: --if-version, --if-absent, --if-present: give one of them", errUsage)
	case w.version != "":
		o.If, o.Version = api.IfVersion, w.version
	case w.absent:
		o.If = api.IfAbsent
	case w.present:
		o.If = api.IfPresent
	}
	return o, nil
}

// keyAndValue checks the arguments KEY VALUE and returns the value.
func (k *kvctl) keyAndValue(ctx context.Context, args []string) (value []byte, err error) {
	if err := usage(client.CheckKey(args[0])); err != nil {
		return nil, err
	}
	value = []byte(args[1])
	if args[1] == "-" {
		if value, err = k.readInput(ctx, api.MaxValueBytes); err != nil {
			return nil, fmt.Errorf("read VALUE from standard input: %w", err)
		}
	}
	return value, usage(client.CheckValue(value))
}

var errInterrupted = errors.New("interrupted, nothing was stored")

// readInput returns what standard input holds, or one byte more than the limit.
// A terminal or a pipe does not let go of a reader, so when ctx ends
// that one is left behind for the end of the program.
func (k *kvctl) readInput(ctx context.Context, limit int64) ([]byte, error) {
	type result struct {
		value []byte
		err   error
	}
	read := make(chan result, 1)
	go func() {
		value, err := io.ReadAll(io.LimitReader(k.stdin, limit+1))
		read <- result{value, err}
	}()
	select {
	case r := <-read:
		return r.value, r.err
	case <-ctx.Done():
		return nil, errInterrupted
	}
}

func (k *kvctl) getCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the bytes of a value; exit code 3 if there is none",
		Args: func(cmd *cobra.Command, args []string) error {
			if output != "raw" && output != "json" {
				return fmt.Errorf("--output is %q: give raw or json", output)
			}
			return named("KEY")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				value, err := c.Get(ctx, args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return json.NewEncoder(k.stdout).Encode(api.Result{Found: true, Value: value.Data, Version: value.Version, TTL: value.TTL.Milliseconds()})
				}
				if isTerminal(k.stdout) {
					value.Data = append(value.Data, '\n')
				}
				_, err = k.stdout.Write(value.Data)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "raw", "raw, or json with the value in base64, its version and what is left of its time")
	return cmd
}

func (k *kvctl) delCommand() *cobra.Command {
	var version string
	cmd := &cobra.Command{
		Use:   "del KEY",
		Short: "Remove a key; that it is absent is no error",
		Args:  named("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if version != "" {
					return c.DeleteVersion(ctx, args[0], version)
				}
				return c.Delete(ctx, args[0])
			})
		},
	}
	cmd.Flags().StringVar(&version, "if-version", "", "only if the value has this version")
	return cmd
}

// named accepts exactly the named arguments, and tells which one is missing.
func named(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return fmt.Errorf("unexpected argument %q: %s (quote what contains spaces)", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
