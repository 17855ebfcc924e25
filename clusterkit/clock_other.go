//go:build unix && !linux

package clusterkit

import "time"

// systemClock reads Go's monotonic clock. On some systems it stops while the
// machine is suspended: do not suspend nodes there.
type systemClock struct{}

func (systemClock) Now() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
