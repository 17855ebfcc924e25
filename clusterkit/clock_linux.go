package clusterkit

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// systemClock reads CLOCK_BOOTTIME: Go's own monotonic clock stops while the
// machine is suspended, and a lease would outlive it.
type systemClock struct{}

// Now makes the system call without telling Go's scheduler: every read asks for
// the lease, and this call does not block.
func (systemClock) Now() time.Duration {
	var t unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		panic("clusterkit: CLOCK_BOOTTIME cannot be read: " + errno.Error())
	}
	return time.Duration(t.Nano())
}
