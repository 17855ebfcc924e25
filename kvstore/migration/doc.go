// Package migration decides about copies of partitions that are being made: in
// which phase one is and why it waits, how far it is and when it will be there,
// whose turn it is, and how fast it may go. All of it is values in and values
// out; clocks, limiters and connections are in package kvstore.
package migration
