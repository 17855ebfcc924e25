package clusterkit

import "time"

// clock measures the passing of time for leases. It never goes back, is not
// set by anybody, and goes on while the machine is suspended. Readings of
// different machines or boots cannot be compared.
type clock interface {
	Now() time.Duration
}
