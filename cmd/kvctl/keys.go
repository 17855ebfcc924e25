package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

func (k *kvctl) setCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "set KEY VALUE",
		Short:   "Store a value; VALUE - reads it from standard input",
		Example: "  kvctl set greeting hello\n  kvctl set photo - < photo.jpg",
		Args:    named("KEY", "VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			value := []byte(args[1])
			if args[1] == "-" {
				var err error
				if value, err = k.readValue(cmd.Context()); err != nil {
					return fmt.Errorf("read VALUE from standard input: %w", err)
				}
			}
			if err := usage(client.CheckValue(value)); err != nil {
				return err
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				_, err := c.Set(ctx, args[0], value)
				return err
			})
		},
	}
}

var errInterrupted = errors.New("interrupted, nothing was stored")

// readValue returns what standard input holds, or one byte more than a value
// may have. A terminal or a pipe does not let go of a reader, so when ctx ends
// that one is left behind for the end of the program.
func (k *kvctl) readValue(ctx context.Context) ([]byte, error) {
	type result struct {
		value []byte
		err   error
	}
	read := make(chan result, 1)
	go func() {
		value, err := io.ReadAll(io.LimitReader(k.stdin, api.MaxValueBytes+1))
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
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Print the bytes of a value; exit code 3 if there is none",
		Args:  named("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				value, err := c.Get(ctx, args[0])
				if err != nil {
					return err
				}
				if isTerminal(k.stdout) {
					value.Data = append(value.Data, '\n')
				}
				_, err = k.stdout.Write(value.Data)
				return err
			})
		},
	}
}

func (k *kvctl) delCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "del KEY",
		Short: "Remove a key; that it is absent is no error",
		Args:  named("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := usage(client.CheckKey(args[0])); err != nil {
				return err
			}
			return k.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return c.Delete(ctx, args[0])
			})
		},
	}
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
