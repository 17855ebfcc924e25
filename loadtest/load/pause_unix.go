//go:build unix && !linux

package load

import "time"

// pause sleeps as exactly as Go's timers are.
func pause(d time.Duration) { <-time.After(d) }
