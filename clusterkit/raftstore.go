package clusterkit

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// Timing of Raft. Heartbeats take the ordinary way through the followers and
// wait for their disks, so these leave room for a busy machine.
const (
	// raftElectionTimeout is how long a follower does without its leader. It
	// looks from time to time, every one to two of them, so it stands for
	// election after one to three; and with pre-vote the one of two that looks
	// last decides.
	raftElectionTimeout = 500 * time.Millisecond
	// raftLeaderLease is how long a leader does without its followers.
	raftLeaderLease = 500 * time.Millisecond
	// raftCommitTimeout bounds how late a follower learns that an entry is
	// committed when no other entry follows. It costs an empty message each
	// time; entries that change the map do not wait for it: see spread.
	raftCommitTimeout = 150 * time.Millisecond
	raftRPCTimeout    = 2 * time.Second

	snapshotsKept     = 2
	snapshotThreshold = 8192
	trailingLogs      = 2048
	boltOpenTimeout   = 2 * time.Second
)

// raftStore is Raft's part of the data directory.
type raftStore struct {
	bolt      *raftboltdb.BoltStore
	logs      raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	writes    *writeWatch
}

func openRaftStore(dir string, log hclog.Logger) (*raftStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, dataDirError("%q cannot be created: %w: give this user access", dir, err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(dir, "raft.db"),
		BoltOptions: &bbolt.Options{
			Timeout:        boltOpenTimeout,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if err != nil {
		return nil, dataDirError("Raft log in %q cannot be opened: %w: restore it, or start with an empty directory", dir, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, log)
	if err != nil {
		return nil, errors.Join(dataDirError("snapshots in %q cannot be used: %w: give this user access", dir, err), bolt.Close())
	}
	writes := &writeWatch{}
	cache, err := raft.NewLogCache(512, watchedLogs{bolt, writes})
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return &raftStore{bolt: bolt, logs: cache, stable: watchedStable{bolt, writes}, snapshots: snapshots, writes: writes}, nil
}

// empty reports whether Raft has never run here.
func (s *raftStore) empty() (bool, error) {
	used, err := raft.HasExistingState(s.logs, s.stable, s.snapshots)
	if err != nil {
		return false, dataDirError("Raft log cannot be read: %w: restore it, or start with an empty directory", err)
	}
	return !used, nil
}

func (s *raftStore) close() error { return s.bolt.Close() }

func raftConfig(id string, notify chan<- bool, log hclog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout = raftElectionTimeout
	c.ElectionTimeout = raftElectionTimeout
	c.LeaderLeaseTimeout = raftLeaderLease
	c.CommitTimeout = raftCommitTimeout
	c.SnapshotThreshold = snapshotThreshold
	c.TrailingLogs = trailingLogs
	c.NotifyCh = notify
	c.Logger = log
	c.NoLegacyTelemetry = true
	return c
}
