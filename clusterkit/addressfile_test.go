package clusterkit

import (
	"log/slog"
	"os"
	"testing"

	"github.com/hashicorp/raft"
)

func TestAddressesAreRemembered(t *testing.T) {
	f := newAddressFile(t.TempDir(), slog.New(slog.DiscardHandler))
	if got := f.load(); got != nil {
		t.Errorf("an empty directory has %v", got)
	}
	maps := make(chan *Map, 2)
	m := mustApply(t, foundedMap(1, 1), register("n1", "s1", 5))
	maps <- m
	maps <- mustApply(t, m, register("n2", "s2", 1))
	close(maps)
	f.follow(maps)

	b := newTestBook(nil)
	b.remembered = f.load()
	for id, want := range map[string]string{"n1/s1": "n1/s1@n1:1", "n2/s2": "n2/s2@n2:1"} {
		if got, err := b.ServerAddr(raft.ServerID(id)); err != nil || string(got) != want {
			t.Errorf("%s is taken to be at %s, %v", id, got, err)
		}
	}
	b.hear(said("n1/s1", 5, 1, "newer:1"))
	if got, _ := b.ServerAddr("n1/s1"); got != "n1/s1@newer:1" {
		t.Errorf("an announcement counts less than a memory: %s", got)
	}
}

func TestDamagedAddressesAreNotUsed(t *testing.T) {
	f := newAddressFile(t.TempDir(), slog.New(slog.DiscardHandler))
	for _, content := range []string{
		"", "{", `{"format":2,"servers":[]}`,
		`{"format":1,"servers":[{"server":"n1","raft_addr":"n1:1"}]}`,
		`{"format":1,"servers":[{"server":"n1/s1","raft_addr":"0.0.0.0:1"}]}`,
	} {
		if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := f.load(); got != nil {
			t.Errorf("%q gives %v", content, got)
		}
	}
}
