// Package e2e holds the end-to-end tests: kvnode processes, disks and sockets
// as in production, used from the outside only.
package e2e
