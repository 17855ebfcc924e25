//go:build !unix

package clusterkit

// The lock of the data directory is one of Unix.
const _ int = "clusterkit needs a Unix system, such as Linux, macOS or a BSD"
