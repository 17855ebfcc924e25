package clusterkit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// newTestBook returns the book of n9, which knows that map.
func newTestBook(m *Map) *addressBook {
	b := &addressBook{state: &fsm{}, self: "n9/s9@n9:1"}
	b.state.current.Store(m)
	return b
}

func said(server string, incarnation, starts uint64, addr string) announcement {
	return announcement{Server: server, Incarnation: incarnation, Starts: starts, RaftAddr: addr}
}

func TestTheNewestAddressWins(t *testing.T) {
	m := mustApply(t, foundedMap(1, 1), register("n1", "s1", 5))
	tests := []struct {
		name  string
		heard []announcement
		want  string
	}{
		{"only the map", nil, "n1:1"},
		{"started since it registered", []announcement{said("n1/s1", 5, 2, "new:1")}, "new:1"},
		{"about to register again", []announcement{said("n1/s1", 6, 2, "new:1")}, "new:1"},
		{"from before it registered", []announcement{said("n1/s1", 4, 9, "old:1")}, "n1:1"},
		{"what others have in their maps", []announcement{said("n1/s1", 5, 0, "n1:1"), said("n1/s1", 4, 0, "old:1")}, "n1:1"},
		{"the later start", []announcement{said("n1/s1", 5, 2, "old:1"), said("n1/s1", 5, 3, "new:1")}, "new:1"},
		{"an earlier start is told again", []announcement{said("n1/s1", 5, 3, "new:1"), said("n1/s1", 5, 2, "old:1")}, "new:1"},
		{"another disk of the node", []announcement{said("n1/other", 9, 9, "other:1")}, "n1:1"},
		{"of nothing that can be dialled", []announcement{said("n1/s1", 6, 2, "new"), said("n1/s1", 6, 2, ":1"), said("n1/s1", 6, 2, "0.0.0.0:1")}, "n1:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestBook(m)
			for _, a := range tt.heard {
				b.hear(a)
			}
			if got, err := b.ServerAddr("n1/s1"); err != nil || string(got) != peerAddr("n1/s1", tt.want) {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestRegistrationOvertakesAnAnnouncement(t *testing.T) {
	b := newTestBook(mustApply(t, foundedMap(1, 1), register("n1", "s1", 5)))
	b.hear(said("n1/s1", 5, 2, "new:1"))
	newer := register("n1", "s1", 6)
	newer.Node.RaftAddr = "newest:1"
	b.state.current.Store(mustApply(t, b.state.Map(), newer))
	if got, err := b.ServerAddr("n1/s1"); err != nil || got != "n1/s1@newest:1" {
		t.Errorf("got %s, %v", got, err)
	}
	if known := b.known(); len(known) != 1 || known[0] != said("n1/s1", 6, 0, "newest:1") {
		t.Errorf("tells others %+v", known)
	}
}

func TestAnAddressThatLeadsNowhereIsForgotten(t *testing.T) {
	b := newTestBook(mustApply(t, foundedMap(1, 1), register("n1", "s1", 5)))
	for range 2 { // a true one is told again
		b.hear(said("n1/s1", 1<<40, 1, "nowhere:1"))
		b.forget("n1/s1@elsewhere:1")
		b.forget("n2/s2@nowhere:1")
		if got, _ := b.ServerAddr("n1/s1"); got != "n1/s1@nowhere:1" {
			t.Errorf("got %s", got)
		}
		b.forget("n1/s1@nowhere:1")
		if got, _ := b.ServerAddr("n1/s1"); got != "n1/s1@n1:1" {
			t.Errorf("got %s", got)
		}
	}
}

func TestBookWithoutAMap(t *testing.T) {
	b := newTestBook(nil)
	if got, err := b.ServerAddr("n1/s1"); err == nil {
		t.Errorf("knows %s", got)
	}
	b.hear(said("n1/s1", 1, 1, "n1:1"))
	b.hear(said("n9/s9", 9, 9, "somewhere:1"))
	for id, want := range map[raft.ServerID]raft.ServerAddress{"n1/s1": "n1/s1@n1:1", "n9/s9": "n9/s9@n9:1"} {
		if got, err := b.ServerAddr(id); err != nil || got != want {
			t.Errorf("%s: got %s, %v", id, got, err)
		}
	}
	for i := range 2 * maxHeard {
		b.hear(said(fmt.Sprintf("n%d/s", i), 1, 1, "many:1"))
	}
	if n := len(b.known()); n != maxHeard {
		t.Errorf("keeps %d announcements, want %d", n, maxHeard)
	}
	b.hear(said("n1/s1", 2, 2, "moved:1"))
	if got, err := b.ServerAddr("n1/s1"); err != nil || got != "n1/s1@moved:1" {
		t.Errorf("a full book does not follow: %s, %v", got, err)
	}
}

// TestGossipConverges tells announcements to books in any order: whoever has
// heard of the last start of a server, from whomever, keeps to it.
func TestGossipConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := foundedMap(1, 1)
		books := []*addressBook{newTestBook(nil), newTestBook(m), newTestBook(m)}
		var told []announcement
		var incarnation, starts uint64
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0: // it starts somewhere else
				starts++
				told = append(told, said("n1/s1", incarnation, starts, fmt.Sprintf("host-%d:1", starts)))
			case 1: // and registers
				if starts == 0 {
					continue
				}
				incarnation++
				c := register("n1", "s1", incarnation)
				c.Node.RaftAddr = fmt.Sprintf("host-%d:1", starts)
				m, _ = c.apply(m, testTerm)
				books[rapid.IntRange(1, 2).Draw(t, "follower")].state.current.Store(m)
			case 2: // one book tells another
				from, to := rapid.SampledFrom(books).Draw(t, "from"), rapid.SampledFrom(books).Draw(t, "to")
				for _, a := range from.known() {
					to.hear(a)
				}
			default:
				if len(told) > 0 {
					rapid.SampledFrom(books).Draw(t, "book").hear(rapid.SampledFrom(told).Draw(t, "told"))
				}
			}
		}
		if starts == 0 {
			return
		}
		last := said("n1/s1", incarnation, starts, fmt.Sprintf("host-%d:1", starts))
		for _, b := range books {
			b.hear(last)
			for _, a := range told {
				b.hear(a)
			}
			if got, err := b.ServerAddr("n1/s1"); err != nil || !strings.HasSuffix(string(got), "@"+last.RaftAddr) {
				t.Fatalf("got %s, %v, want %s", got, err, last.RaftAddr)
			}
		}
	})
}
