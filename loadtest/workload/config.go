// Package workload writes and reads keys of its own for a while, then reads
// every key back and says whether an acknowledged write is missing.
package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// KV is the store under test. Its errors tell certain failures from unknown
// outcomes as package client's do. It must be safe for concurrent use.
type KV interface {
	Get(ctx context.Context, key string) (client.Value, error)
	Set(ctx context.Context, key string, value []byte) (version string, err error)
}

// Config describes a run.
type Config struct {
	// Clients is how many operate at the same time, each of them on keys of
	// its own and without a pause. Default 16.
	Clients int
	// Keys is the number of keys in use by all clients, at least one each.
	// Default 1000.
	Keys int
	// ValueSize is the size of a value in bytes, at least [MinValueSize].
	// Default 256.
	ValueSize int
	// ReadRatio is the share of reads, 0 to 1 exclusive. Default 0: writes only.
	ReadRatio float64
	// Duration is how long the clients begin new operations. Default 10 s.
	Duration time.Duration
	// Until, if not nil, ends that time early when it is closed.
	Until <-chan struct{}
	// VerifyTimeout bounds the reading back. Default 1 min.
	VerifyTimeout time.Duration
	// Seed makes the choice of operations and keys repeatable.
	Seed uint64
}

// WithDefaults returns c with the defaults in the place of zeros.
func (c Config) WithDefaults() Config {
	if c.Clients == 0 {
		c.Clients = 16
	}
	if c.Keys == 0 {
		c.Keys = 1000
	}
	if c.ValueSize == 0 {
		c.ValueSize = 256
	}
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.VerifyTimeout == 0 {
		c.VerifyTimeout = time.Minute
	}
	return c
}

// Validate returns an error that names each field that cannot be used.
func (c Config) Validate() error {
	var errs []error
	reject := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	reject(c.Clients < 1, "clients is %d: give at least 1", c.Clients)
	reject(c.Keys < c.Clients, "keys is %d: give at least one for each of the %d clients", c.Keys, c.Clients)
	reject(c.ValueSize < MinValueSize || c.ValueSize > api.MaxValueBytes,
		"value size is %d: give %d to %d bytes", c.ValueSize, MinValueSize, api.MaxValueBytes)
	reject(!(c.ReadRatio >= 0 && c.ReadRatio < 1), "read ratio is %v: give 0 to less than 1", c.ReadRatio)
	reject(c.Duration <= 0, "duration is %v: give more than 0", c.Duration)
	reject(c.VerifyTimeout <= 0, "verify timeout is %v: give more than 0", c.VerifyTimeout)
	return errors.Join(errs...)
}
