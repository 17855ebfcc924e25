//go:build !linux || !amd64

package wallclock

import "time"

// Lacks says why no clock can be set here.
func Lacks() string { return ErrUnsupported.Error() }

// Open takes hold of the clock of a process.
func Open(int) (*Clock, error) { return nil, ErrUnsupported }

// Set has the process's clock be wrong by so much.
func (c *Clock) Set(time.Duration) error { return ErrUnsupported }
