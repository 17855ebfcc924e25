package main

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/resp"
)

// reReplicationDelay is how long a dead node keeps its place: one that
// restarts catches up instead of being replaced.
const reReplicationDelay = 5 * time.Minute

// config are the settings of a node.
type config struct {
	NodeID, NodeName                             string
	HTTPAddr, RESPAddr, RaftAddr, PprofAddr      string
	JoinAddr, AdvertiseAddr                      string
	Bootstrap, Insecure                          bool
	DataDir, ClusterName                         string
	PartitionCount, ReplicationFactor, MinInSync int
	ScrubBytesPerSecond                          int
	MigrationBytesPerSecond                      int64
	MigrationCopies                              int
	MigrationP99Multiple                         float64
	CleanupKeysPerSecond                         int
	LogRetainBytes                               int64
	LogLevel                                     slog.Level
}

func defaults() *config {
	m := migration.Defaults()
	return &config{
		HTTPAddr: ":8080", RaftAddr: "127.0.0.1:9001", DataDir: "./data",
		MigrationBytesPerSecond: m.BytesPerSecond, MigrationCopies: m.Copies, MigrationP99Multiple: m.P99Multiple,
		CleanupKeysPerSecond: 20_000,
		LogRetainBytes:       256 << 20,
	}
}

func (c *config) register(f *pflag.FlagSet) {
	f.StringVar(&c.NodeID, "node-id", c.NodeID, "unique ID of the node, for ever the same")
	f.StringVar(&c.NodeName, "node-name", c.NodeName, "name for humans (default: the ID)")
	f.StringVar(&c.HTTPAddr, "http-addr", c.HTTPAddr, "address of the HTTP API; without a host it takes that of --raft-addr")
	f.StringVar(&c.RESPAddr, "resp-addr", c.RESPAddr, "address for Redis clients, such as :6379; without a host it takes that of --raft-addr (default: none)")
	f.StringVar(&c.RaftAddr, "raft-addr", c.RaftAddr, "address of the traffic between the control planes")
	f.StringVar(&c.PprofAddr, "pprof-addr", c.PprofAddr, "loopback address for profiles of the process, at /debug/pprof/ (default: none)")
	f.BoolVar(&c.Bootstrap, "bootstrap", c.Bootstrap, "begin a new cluster; ignored when there is data")
	f.StringVar(&c.JoinAddr, "join-addr", c.JoinAddr, "HTTP addresses of nodes of the cluster to join, comma-separated; ignored when there is data")
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory of everything that the node keeps")
	f.StringVar(&c.ClusterName, "cluster-name", c.ClusterName, `name of the cluster (default "clusterkit")`)
	f.IntVar(&c.PartitionCount, "partition-count", c.PartitionCount, "number of partitions, fixed when the cluster is bootstrapped (default 16)")
	f.IntVar(&c.ReplicationFactor, "replication-factor", c.ReplicationFactor, "number of copies of each partition (default 3)")
	f.IntVar(&c.MinInSync, "min-in-sync", c.MinInSync, "copies that must have a write on disk before it is acknowledged (default 2, or the replication factor if that is 1)")
	f.IntVar(&c.ScrubBytesPerSecond, "scrub-bytes-per-second", c.ScrubBytesPerSecond, "how fast stored data are verified in the background, once a day; negative: never (default 4194304)")
	f.Int64Var(&c.MigrationBytesPerSecond, "migration-bytes-per-second", c.MigrationBytesPerSecond, "how fast copies of partitions are taken, and given, by this node; 0: no bound. kvctl migration throttle changes it for all nodes")
	f.IntVar(&c.MigrationCopies, "migration-copies", c.MigrationCopies, "how many copies this node takes, and gives, at a time")
	f.Float64Var(&c.MigrationP99Multiple, "migration-p99-multiple", c.MigrationP99Multiple, "copies slow down while the slowest of 100 requests takes more than so many times what it takes otherwise; 0: never")
	f.IntVar(&c.CleanupKeysPerSecond, "cleanup-keys-per-second", c.CleanupKeysPerSecond, "how fast copies that were given up are deleted")
	f.Int64Var(&c.LogRetainBytes, "log-retain-bytes", c.LogRetainBytes, "how much of the log is kept for replicas to catch up from; what lacks more fetches a snapshot")
	f.StringVar(&c.AdvertiseAddr, "advertise-addr", c.AdvertiseAddr, "host by which other nodes reach this one (default: those listened on)")
	f.BoolVar(&c.Insecure, "insecure", c.Insecure, "listen on other addresses than loopback although there is neither TLS nor authentication")
	f.TextVar(&c.LogLevel, "log-level", &c.LogLevel, "debug, info, warn or error")
}

// validate checks what the library cannot know: what was set explicitly, and
// what may be listened on.
func (c *config) validate(set func(flag string) bool) error {
	if c.NodeID == "" {
		return fmt.Errorf("NODE_ID is missing: set it, or --node-id, to an ID that no other node has")
	}
	for flag, value := range map[string]int{
		"partition-count": c.PartitionCount, "replication-factor": c.ReplicationFactor, "min-in-sync": c.MinInSync,
	} {
		if set(flag) && value < 1 {
			return fmt.Errorf("%s: %d is too small: use 1 or more", settingName(flag), value)
		}
	}
	if err := c.validateMigration(); err != nil {
		return err
	}
	raftHost, _, err := net.SplitHostPort(c.RaftAddr)
	if err != nil {
		return fmt.Errorf("RAFT_ADDR: %q is not host:port", c.RaftAddr)
	}
	listens := map[string]string{"RAFT_ADDR": raftHost}
	for name, addr := range map[string]*string{"HTTP_ADDR": &c.HTTPAddr, "RESP_ADDR": &c.RESPAddr} {
		if *addr == "" && name != "HTTP_ADDR" {
			continue
		}
		host, port, err := net.SplitHostPort(*addr)
		if err != nil {
			return fmt.Errorf("%s: %q is not host:port", name, *addr)
		}
		if name == "RESP_ADDR" && port == "0" {
			return fmt.Errorf("%s: %q has no fixed port: others are told which one it is", name, *addr)
		}
		if host == "" {
			if host = raftHost; host == "" {
				host = "127.0.0.1"
			}
			*addr = net.JoinHostPort(host, port)
		}
		listens[name] = host
	}
	for name, host := range listens {
		if !c.Insecure && !loopback(host) {
			return fmt.Errorf("%s: %q is not loopback, and this version has neither TLS nor authentication: listen on 127.0.0.1, or set INSECURE=true on a network that only trusted machines can reach", name, host)
		}
	}
	return c.validatePprof()
}

// validatePprof keeps profiles on this machine, INSECURE or not: they show
// what is in memory, and taking them costs time.
func (c *config) validatePprof() error {
	if c.PprofAddr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.PprofAddr)
	if err != nil {
		return fmt.Errorf("PPROF_ADDR: %q is not host:port", c.PprofAddr)
	}
	if !loopback(host) {
		return fmt.Errorf("PPROF_ADDR: %q is not loopback: profiles are for this machine only, use 127.0.0.1", host)
	}
	if host == "" {
		c.PprofAddr = net.JoinHostPort("127.0.0.1", port)
	}
	return nil
}

// validateMigration refuses what a throttle of the cluster could not be either.
func (c *config) validateMigration() error {
	for setting, t := range map[string]api.Throttle{
		"MIGRATION_BYTES_PER_SECOND": {BytesPerSecond: &c.MigrationBytesPerSecond},
		"MIGRATION_COPIES":           {Copies: &c.MigrationCopies},
		"MIGRATION_P99_MULTIPLE":     {P99Multiple: &c.MigrationP99Multiple},
	} {
		if err := migration.Check(t); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	if c.LogRetainBytes < 1 {
		return fmt.Errorf("LOG_RETAIN_BYTES: %d is too small: use 1 or more", c.LogRetainBytes)
	}
	if c.CleanupKeysPerSecond < 1 {
		return fmt.Errorf("CLEANUP_KEYS_PER_SECOND: %d is too small: use 1 or more", c.CleanupKeysPerSecond)
	}
	return nil
}

func (c *config) migration() migration.Settings {
	return migration.Settings{BytesPerSecond: c.MigrationBytesPerSecond, Copies: c.MigrationCopies, P99Multiple: c.MigrationP99Multiple}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip != nil && ip.IsLoopback()
}

// services are the addresses that other nodes and clients find in the map.
func (c *config) services() map[string]string {
	if c.RESPAddr == "" {
		return nil
	}
	addr := c.RESPAddr
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); c.AdvertiseAddr != "" || ip != nil && ip.IsUnspecified() {
		addr = net.JoinHostPort("", port) // the host by which others reach this node
	}
	return map[string]string{resp.Service: addr}
}

// options are the control plane's part of the settings.
func (c *config) options(log *slog.Logger) clusterkit.Options {
	return clusterkit.Options{
		NodeID: c.NodeID, NodeName: c.NodeName,
		HTTPAddr: c.HTTPAddr, RaftAddr: c.RaftAddr, AdvertiseAddr: c.AdvertiseAddr,
		JoinAddr: c.JoinAddr, Bootstrap: c.Bootstrap, DataDir: c.DataDir,
		Config: &clusterkit.Config{
			ClusterName: c.ClusterName, PartitionCount: c.PartitionCount,
			ReplicationFactor: c.ReplicationFactor, MinInSync: c.MinInSync, Hash: clusterkit.HashCRC16Slots,
		},
		Services:     c.services(),
		ExternalHTTP: true, ManagedReplication: true, ReReplicationDelay: reReplicationDelay,
		Logger: log,
	}
}
