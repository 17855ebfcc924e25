package resp

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// slots is how many there are.
const slots = clusterkit.MaxPartitions

// slotRange are slots that one node serves, first and last included.
type slotRange struct {
	first, last int
	primary     *clusterkit.Node
}

// ranges returns the slots that have a primary, in order, neighbours of one
// primary as one range.
func ranges(m *clusterkit.Map) (all []slotRange) {
	if m == nil {
		return nil
	}
	for i := range m.Partitions {
		n := m.Node(m.Partitions[i].Primary)
		if n == nil {
			continue
		}
		first, last := firstSlot(i, len(m.Partitions)), firstSlot(i+1, len(m.Partitions))-1
		if k := len(all) - 1; k >= 0 && all[k].primary == n && all[k].last == first-1 {
			all[k].last = last
		} else {
			all = append(all, slotRange{first, last, n})
		}
	}
	return all
}

// firstSlot returns the lowest slot of a partition: the partition of a slot is
// slot * count / 16384.
func firstSlot(partition, count int) int { return (partition*slots + count - 1) / count }

// address returns where a node takes Redis clients, "" if it does not.
func address(n *clusterkit.Node) string {
	if n == nil {
		return ""
	}
	return n.Services[Service]
}

// endpoint splits the address.
func endpoint(n *clusterkit.Node) (host string, port int) {
	host, portText, _ := net.SplitHostPort(address(n))
	port, _ = strconv.Atoi(portText)
	return host, port
}

// idOf returns the ID of a node in the form that Redis has for it, 40
// hexadecimal digits: its own ID may be anything.
func idOf(node string) string {
	sum := sha1.Sum([]byte(node))
	return hex.EncodeToString(sum[:])
}

// elsewhere returns an error if the map names another node as the primary of
// the slot.
func (s *Server) elsewhere(slot int) error {
	m := s.opts.Map()
	if m == nil {
		return nil
	}
	primary := m.Partitions[slot*len(m.Partitions)/slots].Primary
	if primary == "" || primary == s.opts.Node {
		return nil
	}
	return refusal(wording(api.ErrNotPrimary.With("primary", primary), slot, m))
}

// cluster is CLUSTER.
func (c *client) cluster(args [][]byte) {
	m := c.server.opts.Map()
	switch sub := args[1]; {
	case is(sub, "KEYSLOT") && len(args) == 3:
		c.out = appendNumber(c.out, int64(slotOf(args[2])))
	case is(sub, "MYID") && len(args) == 2:
		c.out = appendBulk(c.out, idOf(c.server.opts.Node))
	case is(sub, "SLOTS") && len(args) == 2:
		c.out = appendSlots(c.out, m)
	case is(sub, "SHARDS") && len(args) == 2:
		c.out = appendShards(c.out, m)
	case is(sub, "NODES") && len(args) == 2:
		c.out = appendBulk(c.out, nodeLines(m, c.server.opts.Node))
	case is(sub, "INFO") && len(args) == 2:
		c.out = appendBulk(c.out, clusterState(m))
	default:
		c.refuse(errSubcommand("cluster", sub))
	}
}

// appendSlots tells of primaries only: the other copies serve nobody.
func appendSlots(dst []byte, m *clusterkit.Map) []byte {
	all := ranges(m)
	dst = appendArray(dst, len(all))
	for _, r := range all {
		host, port := endpoint(r.primary)
		dst = appendNumber(appendNumber(appendArray(dst, 3), int64(r.first)), int64(r.last))
		dst = appendNumber(appendBulk(appendArray(dst, 3), host), int64(port))
		dst = appendBulk(dst, idOf(r.primary.ID))
	}
	return dst
}

func appendShards(dst []byte, m *clusterkit.Map) []byte {
	if m == nil {
		return appendArray(dst, 0)
	}
	all := ranges(m)
	dst = appendArray(dst, len(m.Nodes))
	for i := range m.Nodes {
		n := &m.Nodes[i]
		own := rangesOf(all, n)
		dst = appendArray(appendBulk(appendArray(dst, 4), "slots"), 2*len(own))
		for _, r := range own {
			dst = appendNumber(appendNumber(dst, int64(r.first)), int64(r.last))
		}
		host, port := endpoint(n)
		health := "online"
		if !n.Alive {
			health = "failed"
		}
		dst = appendArray(appendArray(appendBulk(dst, "nodes"), 1), 14)
		dst = appendBulk(appendBulk(dst, "id"), idOf(n.ID))
		dst = appendNumber(appendBulk(dst, "port"), int64(port))
		dst = appendBulk(appendBulk(dst, "ip"), host)
		dst = appendBulk(appendBulk(dst, "endpoint"), host)
		dst = appendBulk(appendBulk(dst, "role"), "master")
		dst = appendNumber(appendBulk(dst, "replication-offset"), 0)
		dst = appendBulk(appendBulk(dst, "health"), health)
	}
	return dst
}

func rangesOf(all []slotRange, n *clusterkit.Node) (own []slotRange) {
	for _, r := range all {
		if r.primary == n {
			own = append(own, r)
		}
	}
	return own
}

// nodeLines is CLUSTER NODES: a line for each node, with the slots that it
// serves.
func nodeLines(m *clusterkit.Map, self string) string {
	if m == nil {
		return ""
	}
	var b strings.Builder
	all := ranges(m)
	for i := range m.Nodes {
		n := &m.Nodes[i]
		flags, link := "master", "connected"
		if n.ID == self {
			flags = "myself,master"
		}
		if !n.Alive {
			flags, link = flags+",fail", "disconnected"
		}
		host, port := endpoint(n)
		fmt.Fprintf(&b, "%s %s:%d@0 %s - 0 0 %d %s", idOf(n.ID), host, port, flags, m.Version, link)
		for _, r := range rangesOf(all, n) {
			fmt.Fprintf(&b, " %d-%d", r.first, r.last)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func clusterState(m *clusterkit.Map) string {
	state, served, failed, serving, nodes := "ok", 0, 0, map[string]bool{}, 0
	if m != nil {
		nodes = len(m.Nodes)
	}
	for _, r := range ranges(m) {
		if n := r.last - r.first + 1; r.primary.Alive {
			served += n
			serving[r.primary.ID] = true
		} else {
			failed += n
		}
	}
	if served < slots {
		state = "fail"
	}
	return fmt.Sprintf("cluster_enabled:1\r\ncluster_state:%s\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%d\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:%d\r\ncluster_known_nodes:%d\r\ncluster_size:%d\r\n",
		state, served+failed, served, failed, nodes, len(serving))
}
