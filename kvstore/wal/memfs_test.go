package wal

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

// memFS is a file system in memory that knows what would survive a crash:
// contents that were synced, under names whose directory was.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memNode
	durable map[string]*memNode
	free    uint64
	// fault is asked before every change, under mu, and may refuse it.
	fault func(op, name string) error
}

type memNode struct{ data, synced []byte }

func newMemFS() *memFS {
	return &memFS{names: map[string]*memNode{}, durable: map[string]*memNode{}, free: 1 << 40}
}

// crash returns the file system as a crash would leave it: every sector that
// was written but not synced is lost or not, as rng decides; all are lost if
// rng is nil.
func (m *memFS) crash(rng *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crashNow(rng)
}

// crashNow is crash for a fault, which is asked under the lock.
func (m *memFS) crashNow(rng *rand.Rand) *memFS {
	c := newMemFS()
	for name, node := range m.durable {
		data := bytes.Clone(node.synced)
		if rng != nil && rng.IntN(2) == 0 {
			grown := make([]byte, len(node.data))
			copy(grown, data)
			data = grown
		}
		for at := 0; rng != nil && at < min(len(data), len(node.data)); at += sector {
			if rng.IntN(2) == 0 {
				end := min(at+sector, len(data), len(node.data))
				copy(data[at:end], node.data[at:end])
			}
		}
		c.names[name] = &memNode{data, bytes.Clone(data)}
	}
	c.durable = maps.Clone(c.names)
	return c
}

func (m *memFS) setFault(f func(op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// holdSync has the next sync wait, of the file if one is named: it tells inSync,
// and goes on with goOn.
func (m *memFS) holdSync(file string) (inSync, goOn chan struct{}) {
	inSync, goOn = make(chan struct{}), make(chan struct{})
	m.setFault(func(op, name string) error {
		if op == "sync" && (file == "" || name == file) {
			m.fault = nil
			close(inSync)
			m.mu.Unlock()
			<-goOn
			m.mu.Lock()
		}
		return nil
	})
	return inSync, goOn
}

func (m *memFS) setFree(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = n
}

// list returns the names of all files in order.
func (m *memFS) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

// read returns a copy of what is in a file.
func (m *memFS) read(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.names[name].data)
}

func (m *memFS) check(op, name string) error {
	if m.fault == nil {
		return nil
	}
	return m.fault(op, name)
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) List(dir string) ([]string, error) {
	var names []string
	for _, name := range m.list() {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

func (m *memFS) Open(name string, create bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.names[name]
	if node == nil {
		if !create {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if err := m.check("create", name); err != nil {
			return nil, err
		}
		node = &memNode{}
		m.names[name] = node
	}
	return &memFile{m, name, node}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("rename", to); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("syncdir", dir); err != nil {
		return err
	}
	m.durable = maps.Clone(m.names)
	return nil
}

func (m *memFS) Free(string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free, nil
}

type memFile struct {
	fs   *memFS
	name string
	node *memNode
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("write", f.name); err != nil {
		return 0, err
	}
	if grow := off + int64(len(p)) - int64(len(f.node.data)); grow > 0 {
		f.node.data = append(f.node.data, make([]byte, grow)...)
	}
	return copy(f.node.data[off:], p), nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("truncate", f.name); err != nil {
		return err
	}
	f.node.data = append(make([]byte, 0, size), f.node.data[:min(size, int64(len(f.node.data)))]...)[:size]
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("sync", f.name); err != nil {
		return err
	}
	f.node.synced = bytes.Clone(f.node.data)
	return nil
}

func (f *memFile) WriteSync(p []byte, off int64) error {
	if _, err := f.WriteAt(p, off); err != nil {
		return err
	}
	return f.Sync()
}

func (f *memFile) Close() error { return nil }
