// Package sim runs whole clusters in simulated time: the protocol of package
// partition and the rules of package execute, the same code that the server
// runs, on a network that loses, repeats, delays, reorders and cuts; on disks
// that lose what was not fsynced, or keep a part of it; with nodes that crash,
// pause, stay away and come back with an empty disk; under a control plane with
// sessions and leases, on clocks that run at different rates and begin apart.
// Clients read, write, compare and set, count, append, expire values, write
// batches and repeat requests all the while. Every schedule is drawn from one
// seed and replays exactly.
//
// A run fails when replicas disagree about a committed entry, when two nodes
// serve one epoch, when an acknowledged write is not there in the end, when
// the healed cluster does not serve or its replicas are not equal, or when the
// history of any group of keys is not linearizable or cannot be decided.
package sim
