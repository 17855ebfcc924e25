package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// Options choose a run.
type Options struct {
	Seed uint64
	// Nodes is the number of nodes, MinInSync as in the control plane.
	Nodes, MinInSync int
	// Faults is how long faults and clients run before everything is healed
	// and checked.
	Faults time.Duration
	// Clients and Keys shape the load.
	Clients, Keys int
	// Planted breaks a rule, in builds with the tag "planted".
	Planted planted.Rules
}

// Result is what a run has found.
type Result struct {
	// Violation is "" when every check passed.
	Violation string
	// Hash identifies the schedule: equal seeds give equal hashes.
	Hash uint64
	// Counts of what happened, to see that something did.
	Acked, Unknown, Reads, Crashes, Epochs, Snapshots, Wipes, HandOvers int
}

// world is a cluster in simulated time.
type world struct {
	opt     Options
	rng     *rand.Rand
	now     time.Duration
	queue   eventQueue
	serial  uint64
	control *control
	nodes   []*node
	clients []*client
	cuts    map[[2]int]time.Duration // from, to -> healed at
	log     []partition.Entry        // all that anyone committed, by LSN-1
	history history
	trace   uint64
	healing bool
	serving map[uint64]int // epoch -> node
	result  Result
}

// controlPlane is its address in cuts.
const controlPlane = -1

type event struct {
	at     time.Duration
	serial uint64
	do     func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// violation ends a run through panic and is recovered in Run.
type violation string

func (w *world) violate(format string, args ...any) {
	panic(violation(fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)))
}

// Run runs one schedule.
func Run(opt Options) (res Result) {
	w := &world{
		opt:     opt,
		rng:     rand.New(rand.NewPCG(opt.Seed, 0x9e3779b97f4a7c15)),
		cuts:    map[[2]int]time.Duration{},
		serving: map[uint64]int{},
	}
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				panic(r)
			}
			w.result.Violation = string(v)
		}
		w.result.Hash = w.trace
		res = w.result
	}()
	w.run()
	return w.result
}

func (w *world) run() {
	w.control = newControl(w)
	for i := range w.opt.Nodes {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	w.control.bootstrap()
	for _, n := range w.nodes {
		n.start()
	}
	for i := range w.opt.Clients {
		c := &client{w: w, id: i}
		w.clients = append(w.clients, c)
		w.after(w.between(0, 20*time.Millisecond), c.act)
	}
	w.after(w.between(0, time.Second), w.nemesis)
	w.runUntil(w.opt.Faults)
	w.heal()
	w.runUntil(w.now + 20*time.Second)
	w.checkEnd()
}

func (w *world) runUntil(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// after schedules do.
func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now + d, w.serial, do})
}

// between draws a duration.
func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// note mixes what happens into the schedule's hash.
func (w *world) note(format string, args ...any) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d ", w.trace, w.now)
	fmt.Fprintf(h, format, args...)
	w.trace = h.Sum64()
}

// transmit carries something between two ends: it may be lost, late, or
// arrive twice.
func (w *world) transmit(from, to int, deliver func()) {
	if until, cut := w.cuts[[2]int{from, to}]; cut && w.now < until {
		return
	}
	copies := 1
	if !w.healing {
		switch {
		case w.chance(0.02):
			return
		case w.chance(0.02):
			copies = 2
		}
	}
	for range copies {
		d := w.between(50*time.Microsecond, 2*time.Millisecond)
		switch {
		case w.healing:
		case to == controlPlane && w.chance(0.05):
			d = w.between(0, 2*time.Second)
		case w.chance(0.03):
			d = w.between(0, 600*time.Millisecond)
		}
		w.after(d, deliver)
	}
}
