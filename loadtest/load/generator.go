package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Generator says how well this machine generated the load, so that its limits
// are not taken for the store's.
type Generator struct {
	// Asked is the rate of an open loop that was asked for, 0 for a closed loop;
	// Sent is how many operations were begun, and Unsent how many were not that
	// were due.
	Asked  float64 `json:"asked_per_second"`
	Sent   uint64  `json:"sent"`
	Unsent uint64  `json:"unsent"`
	// Late is how late operations began for which a client was free.
	Late Summary `json:"late"`
	// Behind is the share of all operations that were later than that for no
	// reason of the store's.
	Behind float64 `json:"behind"`
	// Busy is the share of their time in which clients waited for answers.
	Busy float64 `json:"busy"`
	// Processors is how many of Cores the load generator used.
	Processors float64 `json:"processors"`
	Cores      int     `json:"cores"`
	// Limit says that, and why, the figures are of the generator rather than of
	// the store, or why the rate was not reached; "" is neither. Invalid is true
	// if the store was not put under the load that was asked for, and not by its
	// own fault.
	Limit   string `json:"limit"`
	Invalid bool   `json:"invalid"`
}

const (
	// tooLate is how late an operation may begin before it is taken for one that
	// the generator could not send.
	tooLate = 10 * time.Millisecond
	// fewLate is the share of operations that may be, and mostReached the share
	// of a rate that counts as the whole.
	fewLate     = 0.05
	mostReached = 0.97
	// allBusy is the share of time from which clients count as busy all the
	// time, and allCores that from which processors do.
	allBusy  = 0.7
	allCores = 0.9
)

// judge fills in Limit and Invalid, from the rate that was reached. capacity
// returns how many operations a second this machine can do against a store that
// costs nothing.
func (g *Generator) judge(reached float64, capacity func() float64) {
	starved := g.Processors >= allCores*float64(g.Cores)
	used := fmt.Sprintf("it used %.1f of %d processors", g.Processors, g.Cores)
	if g.Asked == 0 {
		if starved {
			g.Limit = "the load generator was the limit: " + used
		}
		return
	}
	missed := fmt.Sprintf("%.0f of %.0f operations/s were sent", reached, g.Asked)
	switch {
	case reached >= mostReached*g.Asked && g.Behind > fewLate:
		g.Limit = fmt.Sprintf("the load generator was the limit: it began %.0f%% of the operations more than %v late though a client was free; %s", 100*g.Behind, tooLate, used)
		g.Invalid = true
	case reached >= mostReached*g.Asked:
	case starved, g.Busy < allBusy:
		g.Limit = fmt.Sprintf("the load generator was the limit: %s; %s", missed, used)
		g.Invalid = true
	default:
		if most := capacity(); most < g.Asked {
			g.Limit = fmt.Sprintf("the load generator was the limit: %s; this machine can send at most %.0f/s", missed, most)
			g.Invalid = true
			return
		}
		g.Limit = fmt.Sprintf("the store, or the number of clients, was the limit: %s, all clients waited for answers", missed)
	}
}

// probes is how many operations it takes to find out the capacity.
const probes = 5000

// capacity does the operations of the load against a store in memory, and returns
// how many those were in a second.
func (l *load) capacity() float64 {
	probe := &load{Config: l.Config, store: target.NewMemory(), keys: newKeys("probe", l.Keys), chooser: newChooser(l.distribution(), l.Keys)}
	probe.keys.inserted.Store(uint64(l.Keys))
	probe.begin()
	var next atomic.Uint64
	var clients sync.WaitGroup
	for i := range l.Clients {
		clients.Go(func() {
			c := newClient(probe, i)
			for n := next.Add(1); n <= probes; n = next.Add(1) {
				c.do(context.Background(), n, time.Now())
			}
		})
	}
	clients.Wait()
	return probes / max(1e-9, time.Since(probe.start).Seconds())
}

// generator returns what is to be said of a load that took so long.
func (l *load) generator(o offer, elapsed, processor time.Duration) Generator {
	g := Generator{
		Asked:      l.Rate,
		Sent:       o.sent,
		Unsent:     o.unsent,
		Late:       o.late.Summary(),
		Behind:     o.late.above(tooLate),
		Busy:       o.served.Seconds() / (elapsed.Seconds() * float64(l.Clients)),
		Processors: processor.Seconds() / elapsed.Seconds(),
		Cores:      runtime.GOMAXPROCS(0),
	}
	if o.sent > 0 {
		g.Behind *= float64(o.late.Count()) / float64(o.sent)
	}
	sent, due := float64(o.sent), float64(o.sent+o.unsent)
	g.judge(l.Rate*sent/max(1, due)*o.onTime, l.capacity)
	return g
}

// processorTime returns how long processors have worked for this process.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
