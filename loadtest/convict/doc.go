// Package convict proves that the load tester finds what it is for: it runs
// stores that are known to be wrong and demands that each is convicted. Among
// them are nodes with one rule of the protocol broken, a configuration that
// keeps a single copy, and Redis Cluster with its asynchronous replication.
//
// All of it is a test with the build tag "convict"; see make convict.
package convict
