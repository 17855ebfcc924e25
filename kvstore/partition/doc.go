// Package partition is the replication protocol of one partition on one node
// as a pure state machine: the map, messages, ticks and finished fsyncs go
// in; messages, log writes and committed entries come out. It has no clock,
// no I/O and no goroutine, so that a simulator can run it through any
// schedule of crashes and losses and replay that schedule exactly.
//
// The protocol is primary-backup with an external configuration service
// (PacificA, Lin et al. 2008; Kafka's in-sync replicas). The control plane
// names one primary per epoch and the set of in-sync members. An entry is
// committed when every member of the acknowledgement set has it on disk.
// kvstore/DESIGN.md gives the argument why no acknowledged write is lost.
//
// A replica goes through these roles:
//
//	            view names it primary
//	          of an epoch above its promise        promise on disk
//	Follower ------------------------------> Activating ---------> Recovering
//	  ^  ^                                                             |
//	  |  |      a higher epoch is seen                                 | its first entry (a no-op)
//	  |  +------------------------------------ any role                | is committed
//	  |                                                                v
//	  +------------------- Relinquished <--------------------------- Serving
//	     a higher epoch        drained and handed over (irrevocable)
//
// A primary that reaches so few of its peers that it is itself suspect goes from
// Recovering or Serving to Relinquished without draining.
package partition
