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

// Config describes a run. The defaults are those of [Defaults].
type Config struct {
	// Clients is how many operate at the same time, each of them on keys of
	// its own and without a pause.
	Clients int
	// Keys is the number of keys in use by all clients, at least one each.
	Keys int
	// ValueSize is the size of a value in bytes, at least [MinValueSize].
	ValueSize int
	// ReadRatio is the share of reads, 0 to 1 exclusive.
	ReadRatio float64
	// Duration is how long the clients begin new operations.
	Duration time.Duration
	// VerifyTimeout bounds the reading back.
	VerifyTimeout time.Duration
	// Seed makes the choice of operations and keys repeatable.
	Seed uint64
}

// Defaults returns the usual run.
func Defaults() Config {
	return Config{
		Clients:       16,
		Keys:          1000,
		ValueSize:     256,
		ReadRatio:     0.5,
		Duration:      10 * time.Second,
		VerifyTimeout: time.Minute,
		Seed:          1,
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
	reject(c.Clients < 1, "clients is %d: give at least 1", c.Clients)
	reject(c.Keys < c.Clients, "keys is %d: give at least one for each of the %d clients", c.Keys, c.Clients)
	reject(c.ValueSize < MinValueSize || c.ValueSize > api.MaxValueBytes,
		"value size is %d: give %d to %d bytes", c.ValueSize, MinValueSize, api.MaxValueBytes)
	reject(!(c.ReadRatio >= 0 && c.ReadRatio < 1), "read ratio is %v: give 0 to less than 1", c.ReadRatio)
	reject(c.Duration <= 0, "duration is %v: give more than 0", c.Duration)
	reject(c.VerifyTimeout <= 0, "verify timeout is %v: give more than 0", c.VerifyTimeout)
	return errors.Join(errs...)
}
