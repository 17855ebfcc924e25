// Package load puts a store under load, measures how it bears that, and convicts
// it when it loses, invents or damages what it was given.
//
// The load is a closed loop, in which each client waits for an answer before it
// asks again, or an open one of a fixed rate. In the open loop latencies count
// from when an operation was to be sent, so that a store that stands still is
// charged with all the operations that it kept from being sent ("coordinated
// omission" is leaving them out).
//
// Values describe themselves: whatever is read says which write it is from. It
// is held against what was acknowledged and begun before, for any number of
// writers of one key; and at the end every key is read back.
package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Config describes a load. The defaults are those of [Defaults].
type Config struct {
	// Mix says which operations there are, and how often.
	Mix Mix
	// Distribution says which keys are asked for; "" is the mix's own.
	Distribution Distribution
	// Keys is how many are written before the load begins.
	Keys int
	// ValueSize says how long values are.
	ValueSize Size
	// Clients is how many operations may be under way at the same time.
	Clients int
	// Rate is how many operations are to begin in a second, whatever became of
	// those before them. With 0 each client begins one when its last has ended.
	Rate float64
	// Ramp is how long the rate, or the number of clients, takes to grow from
	// nothing. Neither it nor the Warmup after it is in the figures.
	Ramp, Warmup time.Duration
	// Duration is how long the load is measured.
	Duration time.Duration
	// FillTimeout bounds the writing of all keys before the load, VerifyTimeout
	// the reading back after it.
	FillTimeout, VerifyTimeout time.Duration
	// Seed makes the sequence of operations, keys and sizes repeatable.
	Seed uint64
	// Progress, if set, is called about every second from one goroutine, and
	// delays the next call only.
	Progress func(Progress)

	// pause sleeps for a time that is less than a few milliseconds.
	pause func(time.Duration)
}

const (
	maxClients = 100_000
	maxKeys    = 100_000_000
	maxRate    = 1e9
)

// Defaults returns the usual load.
func Defaults() Config {
	return Config{
		Mix:           Even,
		Keys:          1000,
		ValueSize:     Fixed(256),
		Clients:       16,
		Duration:      10 * time.Second,
		FillTimeout:   time.Minute,
		VerifyTimeout: time.Minute,
		Seed:          1,
		pause:         pause,
	}
}

// Validate returns an error that names each field that cannot be used.
func (c Config) Validate() error {
	var errs []error
	reject := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, c.Mix.validate(), c.Distribution.validate())
	reject(c.Clients < 1 || c.Clients > maxClients, "clients is %d: give 1 to %d", c.Clients, maxClients)
	reject(c.Keys < 1 || c.Keys > maxKeys, "keys is %d: give 1 to %d", c.Keys, maxKeys)
	for _, s := range c.ValueSize.parts {
		reject(s.min < MinValueSize || s.max > api.MaxValueBytes || s.max < s.min,
			"value size is %v: give %d to %d bytes", c.ValueSize, MinValueSize, api.MaxValueBytes)
	}
	reject(len(c.ValueSize.parts) == 0, "value size is missing")
	reject(!(c.Rate >= 0 && c.Rate <= maxRate), "rate is %v: give up to %v operations a second, or 0 for a closed loop", c.Rate, maxRate)
	reject(c.Ramp < 0, "ramp is %v: give 0 or more", c.Ramp)
	reject(c.Warmup < 0, "warmup is %v: give 0 or more", c.Warmup)
	reject(c.Duration <= 0, "duration is %v: give more than 0", c.Duration)
	reject(c.FillTimeout <= 0, "fill timeout is %v: give more than 0", c.FillTimeout)
	reject(c.VerifyTimeout <= 0, "verify timeout is %v: give more than 0", c.VerifyTimeout)
	return errors.Join(errs...)
}

// distribution returns how keys are chosen.
func (c Config) distribution() Distribution {
	if c.Distribution == "" {
		return c.Mix.Distribution
	}
	return c.Distribution
}

// Describe says in a line what the load is.
func (c Config) Describe() string {
	loop := fmt.Sprintf("%d clients in a closed loop", c.Clients)
	if c.Rate > 0 {
		loop = fmt.Sprintf("%.0f operations/s from up to %d clients", c.Rate, c.Clients)
	}
	return fmt.Sprintf("%s (%s), %d keys, %s, values of %v bytes, %s", c.Mix.Name, c.Mix.shares(), c.Keys, c.distribution(), c.ValueSize, loop)
}
