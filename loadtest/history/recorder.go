package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Recorder writes operations as lines of JSON, in the order in which they end.
// It is safe for concurrent use.
type Recorder struct {
	begun   time.Time
	clients atomic.Int64
	counts  [3]atomic.Int64

	mu      sync.Mutex
	out     *bufio.Writer
	written int
	err     error
}

const recorderBuffer = 1 << 20

// NewRecorder returns a recorder whose clock begins now. The history is whole
// only after [Recorder.Close].
func NewRecorder(out io.Writer) *Recorder {
	return &Recorder{begun: time.Now(), out: bufio.NewWriterSize(out, recorderBuffer)}
}

// Now returns the time on the recorder's clock.
func (r *Recorder) Now() time.Duration { return time.Since(r.begun) }

// Since returns what the recorder's clock showed at a time that was read with
// [time.Now].
func (r *Recorder) Since(t time.Time) time.Duration { return t.Sub(r.begun) }

// NewClient returns the number of a client that has not been heard of.
func (r *Recorder) NewClient() int { return int(r.clients.Add(1)) - 1 }

// Add records an operation that has ended.
func (r *Recorder) Add(o *Operation) {
	r.counts[o.Outcome].Add(1)
	b, err := encode(o)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		_, err = r.out.Write(b)
	}
	if r.written++; r.err == nil {
		r.err = err
	}
}

// Count returns how many operations have ended so.
func (r *Recorder) Count(o target.Outcome) int { return int(r.counts[o].Load()) }

// Close writes what is left, and that nothing is missing. It returns the first
// error of all.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return fmt.Errorf("record: %w", r.err)
	}
	b, err := json.Marshal(struct {
		End int `json:"end"`
	}{r.written})
	if err == nil {
		_, err = r.out.Write(append(b, '\n'))
	}
	if err == nil {
		err = r.out.Flush()
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
