// Package replication carries the messages of package partition between two
// nodes: one connection in each direction, upgraded from an HTTP request on
// the node's HTTP address, and on it frames that hold the messages of all
// partitions that were ready when the frame was begun.
//
// A lone message leaves at once, sent by whoever flushes; while one frame is being
// written the next gathers. Messages may be lost when a connection breaks; the protocol
// repairs that. They are never reordered within a connection.
package replication

// Peer is the other end: a node and the disk it is on.
type Peer struct{ Node, Store string }
