// Package kvstore is the data plane: a replicated, durable, linearizable
// key-value store that asks clusterkit where data belongs.
//
// One write goes through these files: router.go finds the primary, local or
// by forward.go; replica.go proposes it to the protocol in package partition;
// commitlog.go puts it into package wal while package replication sends it to
// the in-sync replicas; when all of them have it on disk replica.go answers,
// and applier.go moves it into package storage behind overlay.go.
//
// One copy: the control plane calls [Node.Migrate] in migrations.go; copy.go
// fetches a snapshot through ask.go, which another node's give.go answers out
// of pins.go, at the rate of pace.go, and puts it into package storage.
//
// One failover: reconcile.go takes the new map to package partition, which
// recovers and serves; replica.go publishes that it does.
package kvstore
