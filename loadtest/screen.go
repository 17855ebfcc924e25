package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
)

// screen shows how far a load is: in one line that is drawn again and again on a
// terminal, elsewhere with a new line now and then.
type screen struct {
	out      io.Writer
	terminal bool
	drawn    bool
	next     time.Time
}

// linePause is how often there is a new line where there is no terminal.
const linePause = 5 * time.Second

func newScreen(out io.Writer) *screen {
	s := &screen{out: out, next: time.Now().Add(linePause)}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

const (
	clearLine = "\r\x1b[K"
	barWidth  = 20
)

func (s *screen) show(p load.Progress) {
	if s.terminal {
		fmt.Fprint(s.out, clearLine, line(p, true))
		s.drawn = true
		return
	}
	if now := time.Now(); !now.Before(s.next) {
		s.next = now.Add(linePause)
		fmt.Fprintln(s.out, line(p, false))
	}
}

// end leaves the terminal as it was.
func (s *screen) end() {
	if s.drawn {
		fmt.Fprint(s.out, clearLine)
	}
}

// line describes the progress.
func line(p load.Progress, withBar bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s", p.Phase)
	share := 0.0
	switch {
	case p.AllKeys > 0:
		share = float64(p.Keys) / float64(p.AllKeys)
	case p.Total > 0:
		share = min(1, p.Done.Seconds()/p.Total.Seconds())
	}
	if withBar {
		full := int(share * barWidth)
		fmt.Fprintf(&b, " %s%s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full))
	}
	if p.AllKeys > 0 {
		fmt.Fprintf(&b, " %d of %d keys", p.Keys, p.AllKeys)
		if p.Failure != nil {
			fmt.Fprintf(&b, ", stuck: %v", p.Failure)
		}
		return b.String()
	}
	l := p.Last
	fmt.Fprintf(&b, " %3.0fs  %8.0f ops/s  p50 %-7v p99 %-7v max %-7v", p.Done.Seconds(), l.Rate(),
		load.Round(l.Latency.P50), load.Round(l.Latency.P99), load.Round(l.Latency.Max))
	if l.Failed+l.Unknown > 0 {
		fmt.Fprintf(&b, "  %d failed, %d unknown", l.Failed, l.Unknown)
	}
	if p.Violations > 0 {
		fmt.Fprintf(&b, "  %d CONTRADICTIONS", p.Violations)
	}
	return b.String()
}
