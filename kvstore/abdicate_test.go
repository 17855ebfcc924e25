package kvstore_test

import (
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// A primary that sends to its replicas and hears nothing from them, while all
// sessions live, has one of them take over, and what was acknowledged is there.
func TestPrimaryThatHearsNobodyAbdicates(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("key", "1")
	nodes["a"].deafen()
	c.waitFor(t, "another is the primary", func(m *clusterkit.Map) bool { return m.Partitions[0].Primary != "a" })
	nodes["b"].set("key", "2")
	nodes["c"].want("key", "2")
	nodes["a"].want("key", "2") // which asks the primary
	m, _ := c.current()
	for _, member := range m.Partitions[0].InSync {
		if member.Node == "a" {
			t.Errorf("in-sync are %v, and a acknowledges nothing", m.Partitions[0].InSync)
		}
	}
}
