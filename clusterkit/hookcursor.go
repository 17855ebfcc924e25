package clusterkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// hookCursor remembers over restarts which partitions have begun empty with the
// hooks of this node completed. The map cannot tell: there, a copy is in sync
// from the beginning, whereas one that is made later stays a learner until it
// was acknowledged. A record is on disk a little after its hooks have returned,
// never before; a crash in between has them called again.
type hookCursor struct {
	path, store string
	log         *slog.Logger
	// dirty holds a token while the disk does not have everything.
	dirty chan struct{}

	mu        sync.Mutex
	completed map[int]uint64
}

// hookCursorState is the content of the file.
type hookCursorState struct {
	Format int `json:"format"`
	// Store is the identity of the disk. What another has completed counts for
	// nothing.
	Store string `json:"store"`
	// Completed has, by partition, the version in which it began.
	Completed map[int]uint64 `json:"completed"`
}

const (
	hookCursorFormat = 1
	// cursorRetryDelay spaces the attempts to write where the disk refuses.
	cursorRetryDelay = time.Second
)

// openHookCursor reads the cursor of the store from the directory. A store
// without one has completed nothing. Its errors match [ErrDataDir].
func openHookCursor(dir, store string, log *slog.Logger) (*hookCursor, error) {
	c := &hookCursor{
		path: filepath.Join(dir, "clusterkit-hooks.json"), store: store, log: log,
		dirty: make(chan struct{}, 1), completed: make(map[int]uint64),
	}
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, dataDirError("%q cannot be read: %w: give this user access", c.path, err)
	}
	s, err := decodeHookCursor(data)
	if err != nil {
		return nil, dataDirError("%q is damaged: %w: restore it, or delete it if the hooks of this node may be told once more that partitions begin empty", c.path, err)
	}
	if s.Store == store {
		maps.Copy(c.completed, s.Completed)
	}
	return c, nil
}

func decodeHookCursor(data []byte) (hookCursorState, error) {
	var s hookCursorState
	if err := json.Unmarshal(data, &s); err != nil {
		return s, err
	}
	if s.Format != hookCursorFormat {
		return s, fmt.Errorf("format %d is not known, this version knows %d", s.Format, hookCursorFormat)
	}
	if s.Store == "" {
		return s, errors.New("it names no store")
	}
	for partition, began := range s.Completed {
		if partition < 0 || partition >= MaxPartitions || began == 0 {
			return s, fmt.Errorf("it has partition %d begin in version %d", partition, began)
		}
	}
	return s, nil
}

func (s hookCursorState) encode() ([]byte, error) {
	data, err := json.Marshal(s)
	return append(data, '\n'), err
}

// has reports whether the hooks were completed for the partition as it began in
// that version.
func (c *hookCursor) has(partition int, began uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.completed[partition] == began
}

// complete records that. It does not block.
func (c *hookCursor) complete(partition int, began uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.completed[partition] != began {
		c.completed[partition] = began
		c.markDirty()
	}
}

func (c *hookCursor) markDirty() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// run brings what was recorded to disk until the context ends. What gathers
// during one write goes with the next.
func (c *hookCursor) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.dirty:
		}
		if err := c.write(); err != nil {
			c.markDirty()
			c.log.Warn("completed hooks not recorded, they would be called again after a restart", "error", err)
			sleep(ctx, cursorRetryDelay)
		}
	}
}

// flush writes what run has left, after its return. The error
// matches [ErrDataDir].
func (c *hookCursor) flush() error {
	select {
	case <-c.dirty:
		return c.write()
	default:
		return nil
	}
}

func (c *hookCursor) write() error {
	c.mu.Lock()
	s := hookCursorState{Format: hookCursorFormat, Store: c.store, Completed: maps.Clone(c.completed)}
	c.mu.Unlock()
	data, err := s.encode()
	if err == nil {
		err = replaceFile(c.path, data)
	}
	if err != nil {
		return dataDirError("%q cannot be written: %w: check free space and access", c.path, err)
	}
	return nil
}
