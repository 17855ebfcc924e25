package clusterkit

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure one node. NodeID, HTTPAddr, RaftAddr and DataDir are
// required.
type Options struct {
	// NodeID identifies the node in its cluster for ever: 1 to 64 letters,
	// digits, dots, dashes or underscores.
	NodeID string
	// NodeName is for humans. Default: NodeID.
	NodeName string
	// HTTPAddr is the host:port of the HTTP API. An address without a host,
	// such as ":8080", takes the host of RaftAddr.
	HTTPAddr string
	// RaftAddr is the host:port of the traffic between the nodes. An address
	// without a host listens on loopback.
	RaftAddr string
	// JoinAddr is the HTTP address of a node of the cluster to join, or
	// several of them, separated by commas. They are tried for ever; none
	// needs to be up when this node starts. A name that stands for several
	// hosts, such as a headless service, stands for each of them; names are
	// looked up anew at each attempt. A node that returns to its cluster tells
	// these addresses where it is: so a whole cluster finds together again on
	// other addresses if each node leads to all others, itself or through those.
	JoinAddr string
	// Bootstrap makes this node the first one of a new cluster. Set it on one
	// node. Beside a JoinAddr it asks there first, joins if any node knows a
	// cluster, and founds one only when every address was definite: nobody
	// listens there, or the node knows no cluster. Until then it goes on asking.
	// Several nodes with Bootstrap must each name all the others in JoinAddr,
	// one by one: a name that stands for several hosts may not have them all
	// yet. Then the one whose NodeID sorts first founds. A node that has data
	// returns to its cluster, whatever Bootstrap and JoinAddr say.
	Bootstrap bool
	// DataDir keeps the node's identity and its Raft log. One process at a
	// time can use it.
	DataDir string
	// Config is what the cluster is bootstrapped with. On other nodes it may
	// be nil; a field that is set and contradicts the cluster's name,
	// partition count or hash makes the node refuse to start or to join.
	Config *Config

	// AdvertiseAddr is the host, without a port, by which other nodes reach
	// this one. It is needed when RaftAddr has a wildcard host such as
	// 0.0.0.0. Names are resolved at each dial. Default: the hosts of HTTPAddr
	// and RaftAddr. Nodes with loopback addresses and nodes with others do not
	// let each other in.
	AdvertiseAddr string
	// Services are addresses of this node that the application wants others to
	// find in [Node.Services], by name: host:port, or :port, which takes the
	// host by which others reach this node. At most 16.
	Services map[string]string
	// Zone names the node's failure domain, such as a rack: copies are spread
	// over zones. "" is a zone like any other.
	Zone string
	// Weight is the node's capacity relative to the others', 1 to 1000, when it
	// joins; [ClusterKit.SetWeight] changes it later. Default 1.
	Weight int
	// ExternalHTTP says that the application itself serves
	// [ClusterKit.Handler] on HTTPAddr, which then needs an explicit port.
	ExternalHTTP bool
	// ManagedReplication says that the application replicates by itself: it
	// decides the in-sync sets through [ClusterKit.ProposeInSync] and hands
	// primaries over through [ClusterKit.Transfer]. Without it the return of
	// the hooks makes a copy in-sync, a node that dies leaves the in-sync
	// sets, and primaries move by themselves. It must be the same on all
	// nodes.
	ManagedReplication bool
	// VolatileStore says that the application's data do not survive a restart of
	// its process: a map in memory, say. The node then comes back with a new
	// [ClusterKit.StoreID] each time, is never elected for data that it no longer
	// has, and copies anew. A partition whose every in-sync copy went away with
	// its process begins empty again; see [ClusterKit.OnPartitionChange].
	VolatileStore bool
	// ExplicitAcknowledge is for an application that copies in the background:
	// a copy counts as made when [ClusterKit.Acknowledge] says so, and not when
	// the hooks have returned. It does not go with ManagedReplication.
	ExplicitAcknowledge bool
	// ReReplicationDelay is how long a dead node keeps its place before its
	// copies are made anew elsewhere. It is not waited for when fewer than
	// Config.MinInSync copies are left. Default 0.
	ReReplicationDelay time.Duration

	// Logger receives the log. Default: [slog.Default].
	Logger *slog.Logger
	// Registerer receives the metrics, their names beginning with
	// "clusterkit_". Default: a registry of this node's own.
	Registerer prometheus.Registerer
	// Gatherer is what /metrics shows. Default: Registerer, if it can be
	// gathered from.
	Gatherer prometheus.Gatherer

	// Network is what the node listens and dials on. Default: TCP.
	Network Network
	// Clock measures leases. It is for tests: when this package and Raft wake up
	// follows Go's own clock in any case, this one only says how much time has
	// passed then. Default: the machine's, which goes on while it is suspended.
	Clock Clock
}

// Defaults of [Config].
const (
	DefaultClusterName       = "clusterkit"
	DefaultPartitionCount    = 16
	DefaultReplicationFactor = 3
	DefaultLeaseDuration     = time.Second
)

const (
	minLeaseDuration     = 100 * time.Millisecond
	maxReplicationFactor = 16
	maxWeight            = 1000
	maxZone              = 64
	maxServices          = 16
)

var nodeIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Validate reports the first field that cannot be used, as an error that
// matches [ErrOptions].
func (o Options) Validate() error {
	_, err := o.resolve()
	return err
}

// settings are valid options with the defaults filled in.
type settings struct {
	Options
	joinAddrs []string
	// advertiseHTTP and advertiseRaft are the hosts that others are told.
	advertiseHTTP, advertiseRaft string
	// wanted holds the fields of Config that were set, the others zero.
	wanted Config
}

func (o Options) resolve() (settings, error) {
	s := settings{Options: o}
	if !nodeIDPattern.MatchString(o.NodeID) {
		return s, fieldError("NodeID", "%q is not a node ID: use 1 to 64 letters, digits, dots, dashes or underscores", o.NodeID)
	}
	if s.NodeName == "" {
		s.NodeName = o.NodeID
	}
	if o.DataDir == "" {
		return s, fieldError("DataDir", "it is empty: name a directory for this node's data")
	}
	if err := s.resolveAddresses(); err != nil {
		return s, err
	}
	for addr := range strings.SplitSeq(o.JoinAddr, ",") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		if strings.Contains(addr, "/") {
			return s, fieldError("JoinAddr", "%q is not host:port: leave out the scheme and the path", addr)
		}
		if host, _, err := splitAddr("JoinAddr", addr); err != nil {
			return s, err
		} else if host == "" || isWildcard(host) {
			return s, fieldError("JoinAddr", "%q has no host to dial: write host:port of a node's HTTP address", addr)
		}
		s.joinAddrs = append(s.joinAddrs, addr)
	}
	if o.Config != nil {
		s.wanted = *o.Config
	}
	if _, err := s.wanted.withDefaults(); err != nil {
		return s, err
	}
	if len(o.Zone) > maxZone {
		return s, fieldError("Zone", "it is longer than %d bytes: use a shorter name", maxZone)
	}
	if o.Weight < 0 || o.Weight > maxWeight {
		return s, fieldError("Weight", "%d is out of range: use 1 to %d", o.Weight, maxWeight)
	}
	if err := s.resolveServices(); err != nil {
		return s, err
	}
	if o.ManagedReplication && o.ExplicitAcknowledge {
		return s, fieldError("ExplicitAcknowledge", "with ManagedReplication the primaries decide the in-sync sets: leave one of the two out")
	}
	if o.ReReplicationDelay < 0 {
		return s, fieldError("ReReplicationDelay", "%s is negative: use 0 or more", o.ReReplicationDelay)
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Registerer == nil {
		s.Registerer = prometheus.NewRegistry()
	}
	if s.Gatherer == nil {
		s.Gatherer, _ = s.Registerer.(prometheus.Gatherer)
	}
	if s.Network == nil {
		s.Network = new(tcpNetwork)
	}
	if s.Clock == nil {
		s.Clock = systemClock{}
	}
	return s, nil
}

func (s *settings) resolveAddresses() error {
	raftHost, raftPort, err := splitAddr("RaftAddr", s.RaftAddr)
	if err != nil {
		return err
	}
	if raftHost == "" {
		raftHost = "127.0.0.1"
	}
	httpHost, httpPort, err := splitAddr("HTTPAddr", s.HTTPAddr)
	if err != nil {
		return err
	}
	if httpHost == "" {
		httpHost = raftHost
	}
	s.RaftAddr = net.JoinHostPort(raftHost, raftPort)
	s.HTTPAddr = net.JoinHostPort(httpHost, httpPort)
	if s.ExternalHTTP && httpPort == "0" {
		return fieldError("HTTPAddr", "%q has no fixed port: with ExternalHTTP name the port that the application serves", s.HTTPAddr)
	}
	s.advertiseRaft, s.advertiseHTTP = raftHost, httpHost
	if s.AdvertiseAddr != "" {
		if isWildcard(s.AdvertiseAddr) || strings.Contains(s.AdvertiseAddr, "/") || hasPort(s.AdvertiseAddr) {
			return fieldError("AdvertiseAddr", "%q is not a host that others can dial: name a host or an IP address without a port", s.AdvertiseAddr)
		}
		s.advertiseRaft, s.advertiseHTTP = s.AdvertiseAddr, s.AdvertiseAddr
	}
	if isWildcard(s.advertiseRaft) {
		return fieldError("AdvertiseAddr", "it is empty and RaftAddr %q is a wildcard: name the host by which other nodes reach this one", s.RaftAddr)
	}
	if isWildcard(s.advertiseHTTP) {
		s.advertiseHTTP = s.advertiseRaft
	}
	return nil
}

func (s *settings) resolveServices() error {
	if len(s.Services) > maxServices {
		return fieldError("Services", "there are %d: name at most %d", len(s.Services), maxServices)
	}
	services := make(map[string]string, len(s.Services))
	for name, addr := range s.Services {
		if !nodeIDPattern.MatchString(name) {
			return fieldError("Services", "%q is not a name: use 1 to 64 letters, digits, dots, dashes or underscores", name)
		}
		host, port, err := splitAddr("Services", addr)
		switch {
		case err != nil:
			return err
		case host == "":
			host = s.advertiseHTTP
		case isWildcard(host):
			return fieldError("Services", "%q of %q is a wildcard that others cannot dial: name a host, or write :%s", addr, name, port)
		}
		services[name] = net.JoinHostPort(host, port)
	}
	s.Services = services
	return nil
}

// withDefaults returns the configuration with its zero fields filled in, or
// the first field that cannot be used.
func (c Config) withDefaults() (Config, error) {
	if c.ClusterName == "" {
		c.ClusterName = DefaultClusterName
	}
	if c.PartitionCount == 0 {
		c.PartitionCount = DefaultPartitionCount
	}
	if c.ReplicationFactor == 0 {
		c.ReplicationFactor = DefaultReplicationFactor
	}
	if c.MinInSync == 0 {
		c.MinInSync = min(2, c.ReplicationFactor)
	}
	if c.Hash == "" {
		c.Hash = HashXX64
	}
	if c.LeaseDuration == 0 {
		c.LeaseDuration = DefaultLeaseDuration
	}
	switch {
	case len(c.ClusterName) > 128:
		return c, fieldError("Config.ClusterName", "it is longer than 128 bytes: use a shorter name")
	case c.PartitionCount < 1 || c.PartitionCount > MaxPartitions:
		return c, fieldError("Config.PartitionCount", "%d is out of range: use 1 to %d", c.PartitionCount, MaxPartitions)
	case c.ReplicationFactor < 1 || c.ReplicationFactor > maxReplicationFactor:
		return c, fieldError("Config.ReplicationFactor", "%d is out of range: use 1 to %d", c.ReplicationFactor, maxReplicationFactor)
	case c.MinInSync < 1 || c.MinInSync > c.ReplicationFactor:
		return c, fieldError("Config.MinInSync", "%d is out of range: use 1 to the replication factor, %d", c.MinInSync, c.ReplicationFactor)
	case c.Hash != HashXX64 && c.Hash != HashCRC16Slots:
		return c, fieldError("Config.Hash", "%q is not known: use %q or %q", c.Hash, HashXX64, HashCRC16Slots)
	case c.LeaseDuration < minLeaseDuration || c.LeaseDuration > time.Minute:
		return c, fieldError("Config.LeaseDuration", "%s is out of range: use %s to 1m", c.LeaseDuration, minLeaseDuration)
	}
	return c, nil
}

// contradiction returns what in c, whose zero fields want nothing, is at odds
// with the configuration of the cluster; "" if nothing is.
func (c Config) contradiction(cluster Config) string {
	switch {
	case c.ClusterName != "" && c.ClusterName != cluster.ClusterName:
		return fmt.Sprintf("Config.ClusterName is %q, but the cluster is called %q: correct the name, or join another cluster", c.ClusterName, cluster.ClusterName)
	case c.PartitionCount != 0 && c.PartitionCount != cluster.PartitionCount:
		return fmt.Sprintf("Config.PartitionCount is %d, but the cluster has %d partitions, which can never change: set %d or leave it out", c.PartitionCount, cluster.PartitionCount, cluster.PartitionCount)
	case c.Hash != "" && c.Hash != cluster.Hash:
		return fmt.Sprintf("Config.Hash is %q, but the cluster uses %q, which can never change: set that or leave it out", c.Hash, cluster.Hash)
	default:
		return ""
	}
}

func fieldError(field, format string, args ...any) error {
	return fmt.Errorf("%w %s: %s", ErrOptions, field, fmt.Sprintf(format, args...))
}

func splitAddr(field, addr string) (host, port string, err error) {
	if addr == "" {
		return "", "", fieldError(field, "it is empty: write host:port")
	}
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		reason := err.Error()
		if addrErr, ok := errors.AsType[*net.AddrError](err); ok {
			reason = addrErr.Err
		}
		return "", "", fieldError(field, "%q is not host:port: %s", addr, reason)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return "", "", fieldError(field, "%q has no usable port: use 1 to 65535", addr)
	}
	return host, port, nil
}

func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// isLoopback reports whether host:port can be reached from its own host only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

func hasPort(host string) bool {
	_, _, err := net.SplitHostPort(host)
	return err == nil
}
