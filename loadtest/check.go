package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/history"
)

func checkCommand(stdout io.Writer) *cobra.Command {
	o := check.Options{Timeout: time.Minute}
	cmd := &cobra.Command{
		Use:   "check HISTORY.jsonl...",
		Short: "Check recorded histories again",
		Long: "Check recorded histories again: whether each key's is linearizable, and what was lost,\n" +
			"duplicated, stale, torn or made up.",
		Args: func(cmd *cobra.Command, paths []string) error {
			if len(paths) == 0 {
				return fmt.Errorf("HISTORY.jsonl is missing: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, paths []string) error {
			if o.Timeout <= 0 {
				return &exitError{exitUsage, fmt.Errorf("--timeout is %v: give more than 0", o.Timeout)}
			}
			passed := true
			for _, path := range paths {
				outcome, err := checkFile(stdout, path, o)
				if err != nil {
					return err
				}
				passed = passed && outcome == check.Passed
			}
			if !passed {
				return fmt.Errorf("not every history passed")
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&o.Timeout, "timeout", o.Timeout, "time to decide about each key")
	cmd.Flags().StringVar(&o.Dir, "save", o.Dir, "directory for the history of each key that is wrong, and a drawing of it")
	return cmd
}

func checkFile(stdout io.Writer, path string, o check.Options) (check.Outcome, error) {
	ops, err := history.ReadFile(path)
	if err != nil {
		return "", &exitError{exitUsage, err}
	}
	v, err := check.History(ops, o)
	if err != nil {
		return "", &exitError{exitUsage, fmt.Errorf("%s: %w", path, err)}
	}
	fmt.Fprintln(stdout, path)
	_, err = v.WriteTo(stdout)
	return v.Outcome(), err
}
