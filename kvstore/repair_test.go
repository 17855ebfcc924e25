package kvstore_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// numbers are how 64-bit numbers stand behind one another on disk.
func numbers(all ...uint64) (b []byte) {
	for _, n := range all {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

var (
	// storedValue is part of the header of the value of "old 250", and
	// storedCheckpoint part of the checkpoint, as fill leaves them.
	storedValue      = numbers(1, 251)
	storedCheckpoint = numbers(1, stored, stored)
)

// damage changes what stands on the disk of a node that is down.
func (p *process) damage(what []byte) {
	p.t.Helper()
	tables, err := filepath.Glob(filepath.Join(p.dir, "data", "*.sst"))
	if err != nil {
		p.t.Fatal(err)
	}
	found := false
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			p.t.Fatal(err)
		}
		for at := bytes.Index(b, what); at >= 0; at = bytes.Index(b, what) {
			b[at+len(what)-1] ^= 0x40
			found = true
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	if !found {
		p.t.Fatalf("%x is in none of %d tables", what, len(tables))
	}
}

// replicated is a cluster of three nodes that all have a partition on disk,
// committed and with nothing of it in the log. Node a is the primary.
func replicated(t *testing.T) (*control, map[string]*process) {
	t.Helper()
	c, nodes := secondEpoch(t, "a", "b", "c")
	for _, p := range nodes {
		fill(t, p)
	}
	return c, nodes
}

// waitAnew waits until the copy on a node is in-sync again, as another than
// the first.
func (c *control) waitAnew(t *testing.T, id string) {
	t.Helper()
	c.waitFor(t, "the copy on "+id+" is made anew", func(m *clusterkit.Map) bool {
		member, ok := m.Partitions[0].MemberOf(id)
		return ok && member.Incarnation > 1 && m.Partitions[0].IsInSync(member)
	})
}

// A copy that is damaged is fetched from the others again, whether it is a
// replica's or the primary's, and whether a value or the checkpoint is lost.
func TestDamagedCopiesAreMadeAnew(t *testing.T) {
	for name, what := range map[string][]byte{"value": storedValue, "checkpoint": storedCheckpoint} {
		for _, victim := range []string{"a", "b"} {
			t.Run(name+" on "+victim, func(t *testing.T) {
				c, nodes := replicated(t)
				nodes[victim].damage(what)
				for _, p := range nodes {
					p.start()
				}
				nodes["c"].set("new", "1")
				c.waitAnew(t, victim)
				nodes["c"].set("newer", "2")
				wantKept(t, c, nodes[victim])
				m, _ := c.current()
				if again, _ := m.Partitions[0].MemberOf(victim); !m.Partitions[0].IsInSync(again) {
					t.Errorf("%s has left again: %+v", victim, m.Partitions[0])
				}
			})
		}
	}
}

// The last complete copy is kept, and serves what is not damaged.
func TestTheLastCopyIsKept(t *testing.T) {
	_, nodes := secondEpoch(t, "a")
	a := nodes["a"]
	fill(t, a)
	a.damage(storedValue)
	a.start()
	a.set("new", "1")
	eventually(t, "the damage is known", func() bool {
		_, err := a.request(t.Context(), http.MethodGet, "old 250", "")
		return err != nil && strings.Contains(err.Error(), "corrupt")
	})
	a.want("old 251", "251")
	a.want("new", "1")
	a.set("old 250", "mended")
	a.want("old 250", "mended")
	if err := a.node.Failure(); err != nil {
		t.Error(err)
	}
}

// When the process ends while a copy is made anew, the next one goes on.
func TestMakingACopyAnewSurvivesCrashes(t *testing.T) {
	c, nodes := replicated(t)
	b := nodes["b"]
	b.damage(storedValue)
	for _, p := range nodes {
		p.start()
	}
	c.waitFor(t, "the copy has left the in-sync set", func(m *clusterkit.Map) bool { return len(m.Partitions[0].InSync) == 2 })
	for range 4 {
		b.kill()
		b.start()
	}
	c.waitAnew(t, "b")
	c.elect("b")
	wantStored(t, b)
}
