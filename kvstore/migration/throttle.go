package migration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Settings say how much of a node copies may take; see [api.Throttle].
type Settings struct {
	BytesPerSecond int64
	Copies         int
	P99Multiple    float64
}

const (
	// DefaultBytesPerSecond lets a node with 10 GB move in five minutes, and
	// takes about a third of what a gigabit network carries.
	DefaultBytesPerSecond = 32 << 20
	// DefaultCopies keeps one copy going while another begins or ends.
	DefaultCopies = 2
	// DefaultP99Multiple tells copies that are in the way from the noise.
	DefaultP99Multiple = 4

	// MinBytesPerSecond is the slowest that copies go.
	MinBytesPerSecond = 64 << 10
	maxBytesPerSecond = 1 << 40
	maxCopies         = 64
	minP99Multiple    = 1.1
	maxP99Multiple    = 1000
)

// Defaults are the settings of a node that was told nothing.
func Defaults() Settings {
	return Settings{BytesPerSecond: DefaultBytesPerSecond, Copies: DefaultCopies, P99Multiple: DefaultP99Multiple}
}

// Check returns an error that names the first field that cannot be, and what
// can.
func Check(t api.Throttle) error {
	if b := t.BytesPerSecond; b != nil && *b != 0 && (*b < MinBytesPerSecond || *b > maxBytesPerSecond) {
		return fmt.Errorf("bytes_per_second is %d: give %d to %d, or 0 for no bound", *b, MinBytesPerSecond, int64(maxBytesPerSecond))
	}
	if c := t.Copies; c != nil && (*c < 1 || *c > maxCopies) {
		return fmt.Errorf("copies is %d: give 1 to %d", *c, maxCopies)
	}
	if m := t.P99Multiple; m != nil && *m != 0 && !(*m >= minP99Multiple && *m <= maxP99Multiple) {
		return fmt.Errorf("p99_multiple is %v: give %v to %v, or 0 to go at full rate whatever requests take", *m, minP99Multiple, maxP99Multiple)
	}
	return nil
}

// Override returns the settings as t changes them.
func (s Settings) Override(t api.Throttle) Settings {
	if t.BytesPerSecond != nil {
		s.BytesPerSecond = *t.BytesPerSecond
	}
	if t.Copies != nil {
		s.Copies = *t.Copies
	}
	if t.P99Multiple != nil {
		s.P99Multiple = *t.P99Multiple
	}
	return s
}

// Merge returns t with what change has.
func Merge(t, change api.Throttle) api.Throttle {
	if change.BytesPerSecond != nil {
		t.BytesPerSecond = change.BytesPerSecond
	}
	if change.Copies != nil {
		t.Copies = change.Copies
	}
	if change.P99Multiple != nil {
		t.P99Multiple = change.P99Multiple
	}
	return t
}

// MetadataKey is where the cluster remembers a throttle for all nodes.
const MetadataKey = "kvstore/migration"

// Decode reads a throttle from JSON. It refuses fields that it does not know
// and values that cannot be.
func Decode(b []byte) (t api.Throttle, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return api.Throttle{}, fmt.Errorf(`%w: give {"bytes_per_second":33554432,"copies":2,"p99_multiple":4}, or some of it`, err)
	}
	if d.More() {
		return api.Throttle{}, fmt.Errorf("there is more than one JSON value: give one")
	}
	return t, Check(t)
}

// Burst returns how many bytes may go at once at a rate in bytes per second: so
// few that in any ten seconds there are half a per cent too many at most, and
// that who waits for them sees a new rate at once.
func Burst(rate float64) int {
	const most = 64 << 10
	return int(min(max(rate/20, 1), most))
}

// ChunkBytes returns how large the parts are in which a snapshot is asked for:
// those that are under way when a copy is paused or cut off come again.
func ChunkBytes(rate float64) int {
	const least, most = 64 << 10, 1 << 20
	if math.IsInf(rate, 1) {
		return most
	}
	return int(min(max(rate/2, least), most))
}
