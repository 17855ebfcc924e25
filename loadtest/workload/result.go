package workload

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Failures counts operations that did not succeed within the client's retries.
type Failures struct {
	// Refused writes were certainly not executed; those of Unknown outcome
	// perhaps. Reads are those that failed during the load.
	Refused, Unknown, Reads int
	// The last error of each, LastRead also of the reading back. nil if none.
	LastRefused, LastUnknown, LastRead error
}

func (f *Failures) add(other Failures) {
	f.Refused += other.Refused
	f.Unknown += other.Unknown
	f.Reads += other.Reads
	for _, e := range []struct {
		to   *error
		from error
	}{{&f.LastRefused, other.LastRefused}, {&f.LastUnknown, other.LastUnknown}, {&f.LastRead, other.LastRead}} {
		if e.from != nil {
			*e.to = e.from
		}
	}
}

// Result is what a run found out.
type Result struct {
	// Elapsed is the time under load.
	Elapsed time.Duration
	// Writes are the acknowledged ones, Reads those that got an answer.
	Writes, Reads Latencies
	Failures      Failures
	// Gap is the longest time in which no write of any client succeeded,
	// ClientGap the longest in which none of some one client did.
	Gap, ClientGap time.Duration
	// Verified is the number of keys read back, Unreadable of those that could
	// not be read.
	Verified, Unreadable int
	Violations           []Violation
	// Interrupted is true if the caller ended the run before its verdict.
	Interrupted bool
}

func newResult(workers []*worker, elapsed, gap time.Duration) *Result {
	r := &Result{Elapsed: elapsed, Gap: gap, Writes: newLatencies(), Reads: newLatencies()}
	for _, w := range workers {
		r.Writes.merge(w.writes)
		r.Reads.merge(w.reads)
		r.ClientGap = max(r.ClientGap, w.gap.value())
	}
	return r
}

// verify reads all keys back, each worker its own.
func (r *Result) verify(ctx context.Context, workers []*worker, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var (
		mu      sync.Mutex
		running sync.WaitGroup
	)
	for _, w := range workers {
		running.Go(func() {
			verified, unreadable := w.verify(ctx)
			mu.Lock()
			defer mu.Unlock()
			r.Verified += verified
			r.Unreadable += unreadable
		})
	}
	running.Wait()
}

func (r *Result) collect(workers []*worker) {
	for _, w := range workers {
		r.Failures.add(w.failures)
		r.Violations = append(r.Violations, w.found...)
	}
}

// Verdict is the result in a word.
type Verdict int

const (
	// Passed means that every acknowledged write was there.
	Passed Verdict = iota
	// Violated means that at least one read contradicts what was acknowledged.
	Violated
	// Undecided means that nothing could be written, or that a key could not
	// be read back.
	Undecided
	// Interrupted means that the caller ended the run before its verdict.
	Interrupted
)

// Verdict returns the result in a word.
func (r *Result) Verdict() Verdict {
	switch {
	case len(r.Violations) > 0:
		return Violated
	case r.Interrupted:
		return Interrupted
	case r.Writes.Count() == 0 || r.Unreadable > 0:
		return Undecided
	default:
		return Passed
	}
}

const printedViolations = 10

// WriteTo prints the result for people.
func (r *Result) WriteTo(w io.Writer) (int64, error) {
	var b []byte
	line := func(subject, format string, args ...any) {
		b = fmt.Appendf(b, "%-11s", subject)
		b = fmt.Appendf(b, format, args...)
		b = append(b, '\n')
	}
	for _, s := range []struct {
		subject string
		l       Latencies
	}{{"writes", r.Writes}, {"reads", r.Reads}} {
		if s.l.Count() == 0 {
			line(s.subject, "none")
			continue
		}
		line(s.subject, "%d, %.0f/s   p50 %s   p99 %s   p99.9 %s   max %s", s.l.Count(),
			float64(s.l.Count())/r.Elapsed.Seconds(),
			Round(s.l.Quantile(0.5)), Round(s.l.Quantile(0.99)), Round(s.l.Quantile(0.999)), Round(s.l.Max()))
	}
	line("gap", "no write succeeded for %s at most; for one client %s", Round(r.Gap), Round(r.ClientGap))
	f := r.Failures
	line("failures", "%d writes not executed, %d of unknown outcome, %d reads", f.Refused, f.Unknown, f.Reads)
	for _, e := range []struct {
		subject string
		err     error
	}{{"not executed", f.LastRefused}, {"unknown", f.LastUnknown}, {"read", f.LastRead}} {
		if e.err != nil {
			line("", "last %s: %v", e.subject, e.err)
		}
	}
	line("read back", "%s", r.summary())
	for i, v := range r.Violations {
		if i == printedViolations {
			line("", "and %d more", len(r.Violations)-i)
			break
		}
		line("", "%s", v)
	}
	n, err := w.Write(b)
	return int64(n), err
}

func (r *Result) summary() string {
	switch r.Verdict() {
	case Violated:
		return fmt.Sprintf("FAILED: %d contradictions in %d keys", len(r.Violations), r.Verified)
	case Interrupted:
		return "interrupted, nothing is proved"
	case Undecided:
		return fmt.Sprintf("UNDECIDED: %d keys were read, %d could not be; %d writes were acknowledged",
			r.Verified, r.Unreadable, r.Writes.Count())
	default:
		return fmt.Sprintf("%d keys, every acknowledged write is there", r.Verified)
	}
}

// Round returns d with about three digits.
func Round(d time.Duration) time.Duration {
	for unit := time.Second; unit >= time.Microsecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}
