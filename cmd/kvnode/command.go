package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// Exit codes: exitUsage is for what only the operator can mend, a setting or
// the directory it names.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// usageError is a mistake in flags or environment.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	root := newCommand(getenv, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "kvnode: %s\n", inSettingNames(err))
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	for _, wrong := range []error{clusterkit.ErrOptions, clusterkit.ErrNoCluster, clusterkit.ErrDataDir, clusterkit.ErrJoinRefused} {
		if errors.Is(err, wrong) {
			return exitUsage
		}
	}
	return exitError
}

func newCommand(getenv func(string) string, stderr io.Writer) *cobra.Command {
	cfg := defaults()
	root := &cobra.Command{
		Use:           "kvnode",
		Short:         "Run one node of the distributed key-value service",
		Long:          "Run one node of the distributed key-value service.\n\nEach flag can be given as an environment variable: --node-id is NODE_ID. A flag\nbeats the environment.",
		Version:       version(),
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd.Flags(), getenv)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.validate(cmd.Flags().Changed); err != nil {
				return usageError{err}
			}
			rules, err := brokenRules(getenv)
			if err != nil {
				return usageError{err}
			}
			log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
			return serve(cmd.Context(), cfg, rules, log)
		},
	}
	cfg.register(root.PersistentFlags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(&cobra.Command{
		Use:   "healthcheck",
		Short: "Exit with 0 if the node at HTTP_ADDR is alive",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return healthcheck(cmd.Context(), cfg.HTTPAddr)
		},
	})
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

// settingName returns the environment variable of a flag.
func settingName(flag string) string {
	return strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment sets the flags that were not given from the environment.
func fromEnvironment(flags *pflag.FlagSet, getenv func(string) string) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		value := getenv(settingName(f.Name))
		if err != nil || f.Changed || value == "" || f.Name == "help" || f.Name == "version" {
			return
		}
		if set := flags.Set(f.Name, value); set != nil {
			err = usageError{fmt.Errorf("%s: %q cannot be used: %w", settingName(f.Name), value, inWords(f, set))}
		}
	})
	return err
}

// inWords is why a flag does not take a value, in terms of the operator.
func inWords(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "bool":
		return errors.New("give true or false")
	case "int":
		return errors.New("give a whole number of 64 bits")
	default:
		return errors.Unwrap(err)
	}
}

// settings are the names that the operator knows for the library's fields.
var settings = map[string]string{
	"Config.ClusterName": "CLUSTER_NAME", "Config.PartitionCount": "PARTITION_COUNT",
	"Config.ReplicationFactor": "REPLICATION_FACTOR", "Config.MinInSync": "MIN_IN_SYNC",
	"NodeID": "NODE_ID", "NodeName": "NODE_NAME", "HTTPAddr": "HTTP_ADDR", "RaftAddr": "RAFT_ADDR",
	"JoinAddr": "JOIN_ADDR", "DataDir": "DATA_DIR", "AdvertiseAddr": "ADVERTISE_ADDR", "Bootstrap": "BOOTSTRAP", "Services": "RESP_ADDR",
}

// fieldOrQuoted matches a field's name, and what stands in quotes, which is
// the operator's own.
var fieldOrQuoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\b(?:Config\.)?[A-Z][A-Za-z]+\b`)

// inSettingNames words an error of the library in the operator's names.
func inSettingNames(err error) string {
	return fieldOrQuoted.ReplaceAllStringFunc(err.Error(), func(word string) string {
		if name, ok := settings[word]; ok {
			return name
		}
		return word
	})
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
