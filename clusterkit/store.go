package clusterkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// identity is what a data directory knows about itself.
type identity struct {
	Format int    `json:"format"`
	NodeID string `json:"node_id"`
	// Store is drawn once for each new data directory. It names the directory in
	// Raft, and the application's data unless these are volatile.
	Store string `json:"store"`
	// ClusterUUID is "" until the node knows its cluster.
	ClusterUUID string `json:"cluster_uuid,omitempty"`
	// Founder is true on the node that bootstrapped the cluster. It finishes a
	// bootstrap that a crash interrupted.
	Founder bool `json:"founder,omitempty"`
	// Config is the cluster's, as far as it is known.
	Config *Config `json:"config,omitempty"`
	// Incarnation is the highest that this store may have opened a session
	// with.
	Incarnation uint64 `json:"incarnation"`
	// Starts counts the starts of the node, so that it can be told where it was
	// last.
	Starts uint64 `json:"starts"`
}

const identityFormat = 1

// dataDir is a data directory that this process holds exclusively. Its
// methods may be called concurrently.
type dataDir struct {
	path string
	lock *os.File

	// id is what the disk has; what it points to never changes. Readers do not
	// wait for writes, which can take long.
	id atomic.Pointer[identity]
	// updates puts the writes into an order.
	updates sync.Mutex
}

// openDataDir creates or opens the directory for the node and locks it. Its
// errors match [ErrDataDir].
func openDataDir(path, nodeID string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, dataDirError("%q cannot be created: %w: name another directory or give this user access", path, err)
	}
	lock, err := lockFile(filepath.Join(path, "clusterkit.lock"))
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: lock}
	d.id.Store(&identity{})
	if err := d.load(nodeID); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return d, nil
}

// hasIdentity reports whether there may be a node's data in path; a path that
// cannot be looked at counts, so that opening it says why.
func hasIdentity(path string) bool {
	_, err := os.Stat((&dataDir{path: path}).identityFile())
	return !errors.Is(err, fs.ErrNotExist)
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dataDirError("%q cannot be opened: %w: name another directory or give this user access", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, dataDirError("%q is in use by another process: stop it, or name another directory", filepath.Dir(path))
		}
		return nil, dataDirError("%q cannot be locked: %w: use a local file system", path, err)
	}
	return f, nil
}

func (d *dataDir) load(nodeID string) error {
	name := d.identityFile()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(d.raftDir()); err == nil {
			return dataDirError("%q has a Raft log but no clusterkit.json: restore that file, or start with an empty directory", d.path)
		}
		return d.update(func(id *identity) {
			*id = identity{Format: identityFormat, NodeID: nodeID, Store: uuid.NewString()}
		})
	}
	if err != nil {
		return dataDirError("%q cannot be read: %w: give this user access", name, err)
	}
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return dataDirError("%q is damaged: %w: restore it, or start with an empty directory", name, err)
	}
	switch {
	case id.Format != identityFormat:
		return dataDirError("%q has format %d, this version knows %d: use a matching version", name, id.Format, identityFormat)
	case id.Store == "":
		return dataDirError("%q names no store: restore it, or start with an empty directory", name)
	case id.NodeID != nodeID:
		return dataDirError("%q belongs to node %q, but NodeID is %q: correct one of the two", d.path, id.NodeID, nodeID)
	}
	d.id.Store(&id)
	return nil
}

// identity returns a copy of what was last put on disk. It does not block.
func (d *dataDir) identity() identity { return *d.id.Load() }

// update changes the identity. It is on disk when update returns nil, and
// unchanged otherwise.
func (d *dataDir) update(change func(*identity)) error {
	d.updates.Lock()
	defer d.updates.Unlock()
	next := d.identity()
	change(&next)
	data, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(d.identityFile(), append(data, '\n')); err != nil {
		return dataDirError("%q cannot be written: %w: check free space and access", d.identityFile(), err)
	}
	d.id.Store(&next)
	return nil
}

func (d *dataDir) identityFile() string { return filepath.Join(d.path, "clusterkit.json") }
func (d *dataDir) raftDir() string      { return filepath.Join(d.path, "raft") }

// close releases the directory for other processes.
func (d *dataDir) close() error { return d.lock.Close() }

// replaceFile puts the content in place atomically and durably.
func replaceFile(name string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func dataDirError(format string, args ...any) error {
	return fmt.Errorf("%w: DataDir "+format, append([]any{ErrDataDir}, args...)...)
}
