package clusterkit

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// primaryCause says why a partition is in another epoch.
type primaryCause string

const (
	// causeAssigned is a partition that begins empty.
	causeAssigned primaryCause = "assigned"
	// causeFailover is a primary whose node was lost, or has begun anew.
	causeFailover primaryCause = "failover"
	// causeStopped is a primary whose node stopped in order.
	causeStopped primaryCause = "stopped"
	// causeHandedOver is a primary that gave its role to another node.
	causeHandedOver primaryCause = "handed_over"
	// causeRestarted is a primary that begins anew on its node.
	causeRestarted primaryCause = "restarted"
	// causeReturned is a primary where there was none that lived.
	causeReturned primaryCause = "returned"
	// causeForced is a primary that an operator chose at the price of data.
	causeForced primaryCause = "forced"
	// causeNone is a partition without a primary, and without a copy that could
	// be one.
	causeNone primaryCause = "none"
)

var primaryCauses = []primaryCause{
	causeAssigned, causeFailover, causeStopped, causeHandedOver, causeRestarted, causeReturned, causeForced, causeNone,
}

// causeOf returns why the partition is in another epoch than in the map before,
// "" if it is not. The maps follow one another.
func causeOf(prev, next *Map, i int) primaryCause {
	was, is := &prev.Partitions[i], &next.Partitions[i]
	before, after := prev.Node(was.Primary), next.Node(was.Primary)
	switch {
	case was.Epoch == is.Epoch:
		return ""
	case was.Forced != is.Forced:
		return causeForced
	case was.Began != is.Began:
		return causeAssigned
	case is.Primary == "":
		return causeNone
	case before == nil || !before.Alive:
		return causeReturned
	case was.Primary == is.Primary:
		return causeRestarted
	case after != nil && after.Alive && after.Incarnation == before.Incarnation:
		return causeHandedOver
	case strings.HasSuffix(is.Reason, stoppedReason):
		return causeStopped
	default:
		return causeFailover
	}
}

// mapCounters count the changes of the map since this node has joined: what
// comes before is history.
type mapCounters struct {
	// joined reports whether the map includes the opening of this node's session.
	joined func(*Map) bool
	live   bool

	changes   prometheus.Counter
	primaries *prometheus.CounterVec
}

func newMapCounters(joined func(*Map) bool) *mapCounters {
	c := &mapCounters{
		joined: joined,
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "clusterkit_map_changes_total", Help: "Changes of the cluster map that this node has seen since it joined.",
		}),
		primaries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clusterkit_primary_changes_total", Help: "New epochs of partitions that this node has seen since it joined, by cause.",
		}, []string{"cause"}),
	}
	for _, cause := range primaryCauses {
		c.primaries.WithLabelValues(string(cause))
	}
	return c
}

// observe counts the step from one map to a later one. It is called with every
// change, in order, and does not block.
func (c *mapCounters) observe(prev, next *Map) {
	if c.live = c.live || prev != nil && c.joined(prev); !c.live {
		return
	}
	c.changes.Add(float64(next.Version - prev.Version))
	if len(prev.Partitions) == 0 || &prev.Partitions[0] == &next.Partitions[0] {
		return
	}
	for i := range next.Partitions {
		if cause := causeOf(prev, next, i); cause != "" {
			c.primaries.WithLabelValues(string(cause)).Inc()
		}
	}
}

// Describe is for [prometheus.Collector], as Collect.
func (c *mapCounters) Describe(ch chan<- *prometheus.Desc) {
	c.changes.Describe(ch)
	c.primaries.Describe(ch)
}

func (c *mapCounters) Collect(ch chan<- prometheus.Metric) {
	c.changes.Collect(ch)
	c.primaries.Collect(ch)
}
