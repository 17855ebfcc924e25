package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

const (
	endpointsVar     = "KVCTL_ENDPOINTS"
	defaultEndpoints = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"
)

// kvctl is what the commands share.
type kvctl struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	endpoints      []string
	timeout        time.Duration
}

// run is the whole program: data goes to stdout, all else to stderr.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	k := &kvctl{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	started := false
	root := k.rootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "kvctl:", err)
	if !started {
		fmt.Fprintf(stderr, "See %s --help.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitCode(ctx, err)
}

func (k *kvctl) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "kvctl",
		Short:         "Read and write keys, and run the cluster",
		Long:          "Read and write keys, and run the cluster.\n\n" + exitCodeHelp,
		Version:       version(),
		Args:          needsCommand,
		Run:           func(*cobra.Command, []string) {},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("kvctl {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	fromEnv := defaultEndpoints
	if v := k.getenv(endpointsVar); v != "" {
		fromEnv = v
	}
	f := root.PersistentFlags()
	f.StringSliceVar(&k.endpoints, "endpoints", strings.Split(fromEnv, ","), "nodes to ask, as host:port,... (environment: "+endpointsVar+")")
	f.DurationVar(&k.timeout, "timeout", 10*time.Second, "bound of the command, with its retries through a failover")
	root.AddCommand(k.setCommand(), k.getCommand(), k.delCommand(), k.incrCommand(), k.appendCommand(), k.expireCommand(), k.mgetCommand(), k.scanCommand(), k.batchCommand(), k.clusterCommand(), k.nodeCommand(), k.partitionCommand(), k.migrationCommand())
	return root
}

// flagError puts an error of the flags into words.
func flagError(_ *cobra.Command, err error) error {
	if _, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return fmt.Errorf(`%w (put "--" before a key or value that begins with "-")`, err)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		give := "a " + e.GetFlag().Value.Type()
		if e.GetFlag().Value.Type() == "duration" {
			give += ", like 10s"
		}
		return fmt.Errorf("--%s is %q: give %s", e.GetFlag().Name, e.GetValue(), give)
	}
	return err
}

// helpCommand is cobra's, but refuses what is no command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		Args: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = needsCommand(found, rest)
			}
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			found.InitDefaultHelpFlag()
			found.InitDefaultVersionFlag()
			return found.Help()
		},
	}
}

// needsCommand refuses a command line that ends before it says what to do.
func needsCommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q, give one of: %s", args[0], strings.Join(names, ", "))
	}
	return fmt.Errorf("no command, give one of: %s", strings.Join(names, ", "))
}

// withClient calls do with a client of the endpoints, within the timeout.
func (k *kvctl) withClient(ctx context.Context, do func(context.Context, *client.Client) error) error {
	if err := k.checkTimeout(); err != nil {
		return err
	}
	c, err := client.New(client.Config{Endpoints: k.endpoints, Timeout: k.timeout})
	if err != nil {
		return fmt.Errorf("%w: --endpoints or %s: %w", errUsage, endpointsVar, err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	return do(ctx, c)
}

func (k *kvctl) checkTimeout() error {
	if k.timeout <= 0 {
		return fmt.Errorf("%w: --timeout is %v, give more than 0, like 10s", errUsage, k.timeout)
	}
	return nil
}

// version is that of the module that the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
