package clusterkit

import (
	"cmp"
	"slices"
)

// EventKind says what has happened.
type EventKind string

const (
	// NodeJoined is a node's first time in the cluster.
	NodeJoined EventKind = "node_joined"
	// NodeLeft is the end of a node's session: it stopped, died, was cut off or
	// was removed.
	NodeLeft EventKind = "node_left"
	// NodeRemoved is a node's removal from the cluster, for good.
	NodeRemoved EventKind = "node_removed"
	// NodeReturned is another session of a node that had left. A node that
	// restarts in no time leaves and returns.
	NodeReturned EventKind = "node_returned"
	// RebalanceStarted is when copies or primaries begin to move to where the
	// planner wants them.
	RebalanceStarted EventKind = "rebalance_started"
	// RebalanceFinished is when nothing moves any more. What is left of
	// [Map.Moves] waits, for a dead node or for the end of a pause.
	RebalanceFinished EventKind = "rebalance_finished"
	// HealthChanged is another status of [Map.Health].
	HealthChanged EventKind = "health_changed"
)

// Event is something that has happened in the cluster, as its map shows it.
type Event struct {
	Kind EventKind
	// MapVersion is the version of the map that shows it.
	MapVersion uint64
	// Node is the node that has joined or returned, or, as it last was, that has
	// left or was removed; zero in the other kinds.
	Node Node
	// Before and Health are the state of the cluster before and after
	// HealthChanged; zero in the other kinds.
	Before, Health Health
}

// eventsBetween returns what has happened from one map to a later one, which
// need not be the next: what was undone in between is left out. A node leaves
// and returns in turns.
func eventsBetween(prev, next *Map) []Event {
	events := nodeEvents(prev, next)
	switch before, after := prev.rebalancing(), next.rebalancing(); {
	case after && !before:
		events = append(events, Event{Kind: RebalanceStarted})
	case before && !after:
		events = append(events, Event{Kind: RebalanceFinished})
	}
	if before, after := prev.Health(), next.Health(); before.Status != after.Status {
		events = append(events, Event{Kind: HealthChanged, Before: before, Health: after})
	}
	for i := range events {
		events[i].MapVersion = next.Version
	}
	return events
}

// nodeEvents returns the events about nodes, in the order of their IDs.
func nodeEvents(prev, next *Map) []Event {
	if sameNodes(prev, next) {
		return nil
	}
	var events []Event
	for _, is := range next.Nodes {
		was := is
		was.Alive = true
		if known := prev.Node(is.ID); known != nil {
			was = *known
		} else {
			events = append(events, Event{Kind: NodeJoined, Node: is})
		}
		another := was.Incarnation != is.Incarnation
		if was.Alive && (another || !is.Alive) {
			events = append(events, left(was))
		}
		if is.Alive && (another || !was.Alive) {
			events = append(events, Event{Kind: NodeReturned, Node: is})
		}
	}
	for _, was := range prev.Nodes {
		if next.Node(was.ID) != nil {
			continue
		}
		if was.Alive {
			events = append(events, left(was))
		}
		events = append(events, Event{Kind: NodeRemoved, Node: was})
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.Node.ID, b.Node.ID) })
	return events
}

func left(n Node) Event {
	n.Alive = false
	return Event{Kind: NodeLeft, Node: n}
}

// rebalancing reports whether a move goes on.
func (m *Map) rebalancing() bool {
	// Most of the time there is none, which is quickly seen.
	settled := !slices.ContainsFunc(m.Partitions, func(p Partition) bool { return !p.settled(m) })
	return !settled && slices.ContainsFunc(m.Moves(), func(move Move) bool { return move.Waiting == "" })
}
