package load

import (
	"syscall"
	"time"
)

// pause sleeps in the kernel, which is exact to some 50 µs. The timers of Go are
// late by up to a millisecond in a process that has nothing else to do, which
// would be taken for the store's.
func pause(d time.Duration) {
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&ts, nil) // when a signal ends it early, the caller looks at the clock again
}
