package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		Version:          version(),
		Args:             needsCommand,
		Run:              func(*cobra.Command, []string) {},
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { started = true },
	}
	root.AddCommand(runCommand(getenv, stdout, stderr), clusterCommand(stdout, stderr), demoCommand(stdout), faultsCommand(stdout), checkCommand(stdout))
	root.SetVersionTemplate("loadtest {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "loadtest:", err)
	var coded *exitError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case !started:
		fmt.Fprintf(stderr, "See %s --help.\n", cmd.CommandPath())
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	default:
		return exitFailed
	}
}

// needsCommand refuses a command line that does not say what to do.
func needsCommand(_ *cobra.Command, args []string) error {
	missing := "no command"
	if len(args) > 0 {
		missing = fmt.Sprintf("unknown command %q", args[0])
	}
	return fmt.Errorf("%s, give one of: run, cluster, demo, faults, check", missing)
}

// flagError puts an error of the flags into words.
func flagError(_ *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		switch kind := e.GetFlag().Value.Type(); kind {
		case "size":
			return fmt.Errorf("--%s: %w", e.GetFlag().Name, errors.Unwrap(e))
		case "duration":
			return fmt.Errorf("--%s is %q: give a duration, like 10s", e.GetFlag().Name, e.GetValue())
		default:
			return fmt.Errorf("--%s is %q: give a value of type %s", e.GetFlag().Name, e.GetValue(), kind)
		}
	}
	return err
}

// version is that of the module that the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
