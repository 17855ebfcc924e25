// Package sim runs whole clusters of package partition's state machine in
// simulated time: a network that loses, repeats, delays and cuts; disks that
// lose what was not fsynced; nodes that crash, pause and come back with an
// empty disk; a control plane with sessions and leases on clocks that run at
// different rates. Clients read and write all the while. Every schedule is
// drawn from one seed and replays exactly.
//
// A run fails when replicas disagree about a committed entry, when two nodes
// serve one epoch, when an acknowledged write is not there in the end, when
// the replicas are not equal in the end, or when the history of any key is
// not linearizable.
package sim
