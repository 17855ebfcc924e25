package clusterkit

import "time"

// Clock measures the passing of time for leases. It never goes back, is not
// set by anybody, goes on while the machine is suspended, and its rate is wrong
// by one percent at most: leases are safe with such clocks, and with no others.
// Readings of different machines or boots cannot be compared. Now may be called
// concurrently.
type Clock interface {
	Now() time.Duration
}
