//go:build !linux || !amd64

package wallclock

import "time"

// Open takes hold of the clock of a process.
func Open(int) (*Clock, error) { return nil, ErrUnsupported }

// Set has the process's clock be wrong by so much.
func (c *Clock) Set(time.Duration) error { return ErrUnsupported }
