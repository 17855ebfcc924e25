package kvstore_test

import (
	"errors"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// verify asks a node to verify the only partition.
func (p *process) verify() api.Verification {
	p.t.Helper()
	c, err := client.New(client.Config{Endpoints: []string{p.addr}, Timeout: patience})
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	v, err := c.Verify(p.t.Context(), "partition-0")
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func wantStates(t *testing.T, v api.Verification, want map[string]api.CopyState) {
	t.Helper()
	if len(v.Copies) != len(want) {
		t.Fatalf("%d copies were compared, want %d: %+v", len(v.Copies), len(want), v)
	}
	ok := true
	for _, c := range v.Copies {
		if c.State != want[c.Node] {
			t.Errorf("the copy on %s: %+v, want it to be %s", c.Node, c, want[c.Node])
		}
		ok = ok && want[c.Node] == api.CopyOK
	}
	if v.OK != ok {
		t.Errorf("all is well: %t, want %t", v.OK, ok)
	}
}

func TestVerify(t *testing.T) {
	c, nodes := replicated(t)
	c.keeps.Store(true)
	for _, p := range nodes {
		p.start()
	}
	nodes["c"].set("new", "1")
	v := nodes["b"].verify() // which is not the primary
	wantStates(t, v, map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyOK, "c": api.CopyOK})
	for _, c := range v.Copies {
		if c.Primary != (c.Node == "a") || c.Items != stored+1 || c.Bytes == 0 || c.Digest != v.Copies[0].Digest {
			t.Errorf("the copy on %s: %+v", c.Node, c)
		}
	}
	if again := nodes["a"].verify(); again.Position != v.Position {
		t.Errorf("the partition rests at %s and then at %s", v.Position, again.Position)
	}
}

func TestVerifyRefuses(t *testing.T) {
	c := newControl(1, "a", "b")
	nodes := startAll(t, c, "a", "b")
	nodes["a"].set("key", "value")
	for id, want := range map[string]error{"partition-1": api.ErrNotFound, "": api.ErrNotFound} {
		if _, err := nodes["a"].node.Verify(t.Context(), id, false); !errors.Is(err, want) {
			t.Errorf("verify %q: %v, want %v", id, err, want)
		}
	}
	if _, err := nodes["b"].node.Verify(t.Context(), "partition-0", true); !errors.Is(err, api.ErrNotPrimary) {
		t.Errorf("verify at a replica that must not forward: %v", err)
	}
	nodes["b"].kill()
	wantStates(t, nodes["a"].verify(), map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyNotReachable})
}

// A copy on whose disk is not what was written is found and made anew.
func TestVerifyFindsDamage(t *testing.T) {
	c, nodes := replicated(t)
	c.keeps.Store(true)
	nodes["b"].damage(storedValue)
	for _, p := range nodes {
		p.start()
	}
	nodes["c"].set("new", "1")
	v := nodes["a"].verify()
	m, _ := c.current()
	anew, _ := m.Partitions[0].MemberOf("b")
	for _, copied := range v.Copies {
		// The scrub may find it first, and have it made anew before it is compared.
		if copied.Node == "b" && copied.State != api.CopyDamaged && anew.Incarnation == 1 {
			t.Errorf("the damaged copy is %+v", copied)
		}
	}
	c.waitAnew(t, "b")
	wantStates(t, nodes["a"].verify(), map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyOK, "c": api.CopyOK})
	c.elect("b")
	wantStored(t, nodes["b"])
}

// unequal is a cluster of in-sync copies of which that on one node is another.
func unequal(t *testing.T, other string, ids ...string) (*control, map[string]*process) {
	t.Helper()
	c, nodes := secondEpoch(t, ids...)
	c.keeps.Store(true)
	for id, p := range nodes {
		if id == other {
			fillBut(t, p, "old 250")
		} else {
			fill(t, p)
		}
		p.start()
	}
	nodes["a"].set("new", "1")
	return c, nodes
}

func TestVerifyRepairsAReplicaThatDiffersFromTheRest(t *testing.T) {
	c, nodes := unequal(t, "b", "a", "b", "c")
	v := nodes["a"].verify()
	wantStates(t, v, map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyDiffers, "c": api.CopyOK})
	c.waitAnew(t, "b")
	wantStates(t, nodes["a"].verify(), map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyOK, "c": api.CopyOK})
	c.elect("b")
	wantStored(t, nodes["b"])
}

// Where the primary differs from the rest nobody but an operator decides, by
// moving the primary.
func TestVerifyLeavesADifferentPrimaryToAnOperator(t *testing.T) {
	c, nodes := unequal(t, "a", "a", "b", "c")
	v := nodes["a"].verify()
	wantStates(t, v, map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyDiffers, "c": api.CopyDiffers})
	for _, copied := range v.Copies {
		if copied.Remade {
			t.Errorf("the copy on %s is made anew", copied.Node)
		}
	}
	nodes["a"].want("old 250", "other")
	c.elect("b")
	wantStates(t, nodes["b"].verify(), map[string]api.CopyState{"a": api.CopyDiffers, "b": api.CopyOK, "c": api.CopyOK})
	c.waitAnew(t, "a")
	c.elect("a")
	wantStored(t, nodes["a"])
}

func TestVerifyOfTwoDecidesNothing(t *testing.T) {
	_, nodes := unequal(t, "b", "a", "b")
	v := nodes["a"].verify()
	wantStates(t, v, map[string]api.CopyState{"a": api.CopyOK, "b": api.CopyDiffers})
	for _, copied := range v.Copies {
		if copied.Remade {
			t.Errorf("one copy is given up on the word of the other: %+v", copied)
		}
	}
}
