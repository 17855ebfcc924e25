// Package wallclock sets the time of day of one process wrong, and leaves the
// machine's alone.
//
// A Go program reads clocks in the vDSO, code that the kernel puts into each
// process. The copy of a process is replaced by code that asks the kernel and
// adds a number to the time of day. Other clocks, the monotonic one among them,
// stay as they are. It works on any binary, and needs the right to write to the
// process's memory, as a parent has or root; and it is written for amd64 only.
// What reads the clock by a system call, as no Go program does for the time of
// day, sees the right time.
package wallclock

import (
	"errors"
	"time"
)

// ErrUnsupported is returned where no process's clock can be set.
var ErrUnsupported = errors.New("the clock of a process can be set on Linux and amd64 only")

// Clock is that of one process. It may not be used concurrently.
type Clock struct {
	pid    int
	stub   uint64
	offset time.Duration
}

// Offset returns by how much the clock is wrong.
func (c *Clock) Offset() time.Duration { return c.offset }
