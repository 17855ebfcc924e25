package clusterkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// addressFile keeps on disk where the nodes were by the last map that this node
// has seen, for the next start, when it has no map until it finds a leader. Raft's
// own configuration does not say: there, the address of a server stays the one
// that it joined with, since hashicorp/raft v1.8.0 replaces the address of a peer
// under the eyes of the goroutine that replicates to it.
type addressFile struct {
	path string
	log  *slog.Logger
}

// addressFileState is the content of the file.
type addressFileState struct {
	Format  int            `json:"format"`
	Servers []announcement `json:"servers"`
}

const addressFileFormat = 1

func newAddressFile(dir string, log *slog.Logger) addressFile {
	return addressFile{path: filepath.Join(dir, "clusterkit-addresses.json"), log: log}
}

// load returns the address of each server by its Raft ID. What cannot be read is
// a loss like that of any other hint: the others are then found by JoinAddr.
func (f addressFile) load() map[string]string {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var addrs map[string]string
	if err == nil {
		addrs, err = decodeAddresses(data)
	}
	if err != nil {
		f.log.Warn("the last addresses of the other nodes are not known, JoinAddr has to lead to them", "file", f.path, "error", err)
	}
	return addrs
}

func decodeAddresses(data []byte) (map[string]string, error) {
	var s addressFileState
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if s.Format != addressFileFormat {
		return nil, fmt.Errorf("format %d is not known, this version knows %d", s.Format, addressFileFormat)
	}
	addrs := make(map[string]string, len(s.Servers))
	for _, a := range s.Servers {
		if !a.isUsable() {
			return nil, fmt.Errorf("it has %q at %q", a.Server, a.RaftAddr)
		}
		addrs[a.Server] = a.RaftAddr
	}
	return addrs, nil
}

// follow writes the addresses of each map in which they have changed, until
// there are no more maps.
func (f addressFile) follow(maps <-chan *Map) {
	var written []announcement
	for m := range maps {
		now := m.announcements()
		if slices.Equal(now, written) {
			continue
		}
		if err := f.write(now); err != nil {
			f.log.Warn("the addresses of the other nodes are not recorded for the next start", "error", err)
			continue
		}
		written = now
	}
}

func (f addressFile) write(servers []announcement) error {
	data, err := json.Marshal(addressFileState{Format: addressFileFormat, Servers: servers})
	if err != nil {
		return err
	}
	return replaceFile(f.path, append(data, '\n'))
}

// announcements returns where the map has each node.
func (m *Map) announcements() []announcement {
	var out []announcement
	for i := range m.Nodes {
		out = append(out, m.Nodes[i].announcement())
	}
	return out
}
