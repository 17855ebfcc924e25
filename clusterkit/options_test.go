package clusterkit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAddresses(t *testing.T) {
	tests := []struct {
		name                        string
		http, raft, advertise       string
		wantHTTP, wantRaft          string
		wantHTTPListen, wantRaftLis string
	}{
		{"as in the quick start", ":8080", "127.0.0.1:9001", "", "127.0.0.1:8080", "127.0.0.1:9001", "127.0.0.1:8080", "127.0.0.1:9001"},
		{"no hosts at all", ":8080", ":9001", "", "127.0.0.1:8080", "127.0.0.1:9001", "127.0.0.1:8080", "127.0.0.1:9001"},
		{"wildcards with a name", "0.0.0.0:8080", "0.0.0.0:9001", "kv-1", "kv-1:8080", "kv-1:9001", "0.0.0.0:8080", "0.0.0.0:9001"},
		{"wildcard HTTP only", "[::]:8080", "10.0.0.7:9001", "", "10.0.0.7:8080", "10.0.0.7:9001", "[::]:8080", "10.0.0.7:9001"},
		{"different hosts", "localhost:8080", "10.0.0.7:9001", "", "localhost:8080", "10.0.0.7:9001", "localhost:8080", "10.0.0.7:9001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ck, err := NewClusterKit(Options{
				NodeID: "n1", HTTPAddr: tt.http, RaftAddr: tt.raft, AdvertiseAddr: tt.advertise,
				DataDir: t.TempDir(), Bootstrap: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer stop(t, ck)
			self := ck.Self()
			if self.IP != tt.wantHTTP || self.RaftAddr != tt.wantRaft || self.Name != "n1" || self.Store != ck.StoreID() {
				t.Errorf("advertises %+v, want %s and %s", self, tt.wantHTTP, tt.wantRaft)
			}
			if ck.opts.HTTPAddr != tt.wantHTTPListen || ck.opts.RaftAddr != tt.wantRaftLis {
				t.Errorf("listens on %s and %s, want %s and %s", ck.opts.HTTPAddr, ck.opts.RaftAddr, tt.wantHTTPListen, tt.wantRaftLis)
			}
		})
	}
}

func TestOptionsThatCannotBeUsed(t *testing.T) {
	tests := []struct {
		field string
		edit  func(*Options)
	}{
		{"NodeID", func(o *Options) { o.NodeID = "" }},
		{"NodeID", func(o *Options) { o.NodeID = "a/b" }},
		{"DataDir", func(o *Options) { o.DataDir = "" }},
		{"RaftAddr", func(o *Options) { o.RaftAddr = "" }},
		{"RaftAddr", func(o *Options) { o.RaftAddr = "127.0.0.1:99999" }},
		{"RaftAddr", func(o *Options) { o.RaftAddr = "127.0.0.1:" }},
		{"HTTPAddr", func(o *Options) { o.HTTPAddr = "8080" }},
		{"HTTPAddr", func(o *Options) { o.HTTPAddr, o.ExternalHTTP = "127.0.0.1:0", true }},
		{"AdvertiseAddr", func(o *Options) { o.RaftAddr = "0.0.0.0:9001" }},
		{"AdvertiseAddr", func(o *Options) { o.AdvertiseAddr = "0.0.0.0" }},
		{"AdvertiseAddr", func(o *Options) { o.AdvertiseAddr = "host:9001" }},
		{"JoinAddr", func(o *Options) { o.JoinAddr = "localhost:8080,:8081" }},
		{"JoinAddr", func(o *Options) { o.JoinAddr = "localhost" }},
		{"JoinAddr", func(o *Options) { o.JoinAddr = "http://localhost:8080" }},
		{"JoinAddr", func(o *Options) { o.JoinAddr = "0.0.0.0:8080" }},
		{"JoinAddr", func(o *Options) { o.JoinAddr = "localhost:8080 localhost:8081" }},
		{"Config.PartitionCount", func(o *Options) { o.Config = &Config{PartitionCount: -1} }},
		{"Config.PartitionCount", func(o *Options) { o.Config = &Config{PartitionCount: MaxPartitions + 1} }},
		{"Config.ReplicationFactor", func(o *Options) { o.Config = &Config{ReplicationFactor: -1} }},
		{"Config.MinInSync", func(o *Options) { o.Config = &Config{ReplicationFactor: 2, MinInSync: 3} }},
		{"Config.Hash", func(o *Options) { o.Config = &Config{Hash: "md5"} }},
		{"Config.LeaseDuration", func(o *Options) { o.Config = &Config{LeaseDuration: time.Millisecond} }},
		{"Config.ClusterName", func(o *Options) { o.Config = &Config{ClusterName: strings.Repeat("x", 200)} }},
		{"ExplicitAcknowledge", func(o *Options) { o.ExplicitAcknowledge, o.ManagedReplication = true, true }},
		{"ReReplicationDelay", func(o *Options) { o.ReReplicationDelay = -1 }},
	}
	for _, tt := range tests {
		o := Options{NodeID: "n1", HTTPAddr: ":8080", RaftAddr: "127.0.0.1:9001", DataDir: filepath.Join(t.TempDir(), "data"), Bootstrap: true}
		tt.edit(&o)
		_, err := NewClusterKit(o)
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), tt.field+":") {
			t.Errorf("want an error that names %s, got %v", tt.field, err)
		}
		if _, err := os.Stat(o.DataDir); o.DataDir != "" && !os.IsNotExist(err) {
			t.Errorf("%s: the data directory was touched", tt.field)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	got, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{ClusterName: "clusterkit", PartitionCount: 16, ReplicationFactor: 3, MinInSync: 2, Hash: HashXX64, LeaseDuration: time.Second}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if one, err := (Config{ReplicationFactor: 1}).withDefaults(); err != nil || one.MinInSync != 1 {
		t.Errorf("min-in-sync of one copy: %+v, %v", one, err)
	}
}

func TestDataDirErrors(t *testing.T) {
	options := func(dir string) Options {
		return Options{NodeID: "n1", HTTPAddr: ":8080", RaftAddr: "127.0.0.1:9001", DataDir: dir, Bootstrap: true}
	}
	create := func(t *testing.T, dir string) *ClusterKit {
		t.Helper()
		ck, err := NewClusterKit(options(dir))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ck.Stop() })
		return ck
	}
	tests := []struct {
		name    string
		want    error
		mention string
		prepare func(t *testing.T, o *Options)
	}{
		{"in use", ErrDataDir, "in use by another process", func(t *testing.T, o *Options) { create(t, o.DataDir) }},
		{"of another node", ErrDataDir, `belongs to node "n1"`, func(t *testing.T, o *Options) {
			_ = create(t, o.DataDir).Stop()
			o.NodeID = "n2"
		}},
		{"damaged", ErrDataDir, "damaged", func(t *testing.T, o *Options) {
			writeFile(t, filepath.Join(o.DataDir, "clusterkit.json"), `{"format": 1, "node`)
		}},
		{"of a later version", ErrDataDir, "format 9", func(t *testing.T, o *Options) {
			writeFile(t, filepath.Join(o.DataDir, "clusterkit.json"), `{"format": 9, "node_id": "n1", "store": "s"}`)
		}},
		{"a Raft log without an identity", ErrDataDir, "no clusterkit.json", func(t *testing.T, o *Options) {
			if err := os.MkdirAll(filepath.Join(o.DataDir, "raft"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file", ErrDataDir, "cannot be created", func(t *testing.T, o *Options) {
			o.DataDir = filepath.Join(o.DataDir, "file")
			writeFile(t, o.DataDir, "")
		}},
		{"no purpose", ErrNoCluster, "JoinAddr", func(_ *testing.T, o *Options) { o.Bootstrap = false }},
		{"another cluster name", ErrOptions, "Config.ClusterName", func(t *testing.T, o *Options) {
			ck := create(t, o.DataDir)
			if err := ck.adopt(joinResponse{ClusterUUID: "c", Config: Config{ClusterName: "mine", PartitionCount: 16}}); err != nil {
				t.Fatal(err)
			}
			_ = ck.Stop()
			o.Config = &Config{ClusterName: "yours"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t.TempDir())
			tt.prepare(t, &o)
			_, err := NewClusterKit(o)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.mention) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.mention)
			}
		})
	}
}

func TestIdentityStaysWithTheDirectory(t *testing.T) {
	dir := t.TempDir()
	var stores []string
	for range 2 {
		ck, err := NewClusterKit(Options{NodeID: "n1", HTTPAddr: ":8080", RaftAddr: "127.0.0.1:9001", DataDir: dir, Bootstrap: true})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, ck.StoreID())
		if err := errors.Join(ck.Stop(), ck.Stop()); err != nil {
			t.Fatal(err)
		}
		if err := ck.Start(); !errors.Is(err, ErrStopped) {
			t.Errorf("start after the stop: %v", err)
		}
	}
	if stores[0] != stores[1] || stores[0] == "" {
		t.Errorf("stores %q", stores)
	}
}

func TestPortInUse(t *testing.T) {
	taken := newTestCluster(t, Config{})
	taken.start(nil, "node-1")
	for _, tt := range []struct {
		field string
		edit  func(*Options)
	}{
		{"RaftAddr", func(o *Options) { o.RaftAddr = taken.raft["node-1"] }},
		{"HTTPAddr", func(o *Options) { o.HTTPAddr = taken.http["node-1"] }},
	} {
		o := taken.options("node-8")
		tt.edit(&o)
		o.DataDir = t.TempDir()
		ck, err := NewClusterKit(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := ck.Start(); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("want an error that names %s, got %v", tt.field, err)
		}
	}
}

func TestRegistryInUse(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := Options{NodeID: "n1", HTTPAddr: ":8080", RaftAddr: "127.0.0.1:9001", DataDir: t.TempDir(), Bootstrap: true, Registerer: registry}
	ck, err := NewClusterKit(o)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, ck)
	o.DataDir = t.TempDir()
	if _, err := NewClusterKit(o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "Registerer") {
		t.Errorf("got %v", err)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
