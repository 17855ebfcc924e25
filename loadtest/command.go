package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 4
	exitInterrupted = 130
)

// exitError ends the program with a code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run is the whole program. Results go to stdout, all else to stderr.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	started := false
	root := &cobra.Command{
		Use:   "loadtest",
		Short: "Load a cluster and prove that no acknowledged write is lost",
		Long: "Load a cluster and prove that no acknowledged write is lost.\n\n" +
			"Exit codes: 0 all checks passed, 1 a check failed, 2 usage, 4 cluster unavailable, 130 interrupted.",
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { started = true },
	}
	root.AddCommand(runCommand(getenv, stdout), clusterCommand(stdout, stderr), demoCommand(stdout))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "loadtest:", err)
	var coded *exitError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case !started:
		fmt.Fprintln(stderr, "See loadtest --help.")
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	default:
		return exitFailed
	}
}
