package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// Options choose a run.
type Options struct {
	Seed uint64
	// Nodes is the number of nodes, MinInSync as in the control plane.
	Nodes, MinInSync int
	// Faults is how long faults and clients run before everything is healed
	// and checked.
	Faults  time.Duration
	Clients int
	// Unit, unless "", is the name of a unit that clients operate on for certain.
	Unit string
	// Rules can be broken in builds with the tag "planted".
	Rules planted.Rules
	// Trace, unless nil, is told everything that the hash of the schedule
	// counts.
	Trace io.Writer
}

// Result is what a run has found.
type Result struct {
	// Violation is "" when every check passed; Failed is the check that did not.
	Violation string
	Failed    Check
	// Hash identifies the schedule: equal seeds give equal hashes.
	Hash uint64
	// Counts of what happened, to see that something did.
	Counts Counts
}

// world is a cluster in simulated time.
type world struct {
	opt     Options
	rng     *rand.Rand
	plan    plan
	now     time.Duration
	queue   queue
	network network
	control *control
	nodes   []*node
	clients []*client
	units   []*unit
	ledger  ledger
	history []*operation
	serving map[uint64]*node // by epoch
	healing bool
	// away is the node that is not there in the end, nil if all are; apart says
	// that it is up, and reaches the control plane and nobody else.
	away   *node
	apart  bool
	result Result
}

// Check names what a run is held to.
type Check string

// The checks.
const (
	// Agreement: what one replica has committed, all commit, and it stays.
	Agreement Check = "agreement"
	// OnePrimary: no two nodes serve one epoch.
	OnePrimary Check = "one primary"
	// Start: a process can always start from what is on its disk.
	Start Check = "start"
	// Recovery: when all faults have ended, the partition serves, and all
	// members that are there are in-sync and have everything.
	Recovery Check = "recovery"
	// Equality: in the end all replicas hold what was committed.
	Equality Check = "equality"
	// Linearizability: each unit's history is linearizable.
	Linearizability Check = "linearizability"
	// Certainty: what was reported as not executed has no effect.
	Certainty Check = "certainty"
	// Versions: a version of a key has one value.
	Versions Check = "versions"
	// Rest: what is sent does not make ever more be sent.
	Rest Check = "rest"
)

// violation ends a run through panic and is recovered in Run.
type violation struct {
	check Check
	text  string
}

func (w *world) violate(check Check, format string, args ...any) {
	panic(violation{check, fmt.Sprintf("%s, at %v: ", check, w.now) + fmt.Sprintf(format, args...)})
}

// Run runs one schedule.
func Run(opt Options) (res Result) {
	w := &world{opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0x9e3779b97f4a7c15)), serving: map[uint64]*node{}}
	w.result.Hash = hashStart
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				panic(r)
			}
			w.result.Failed, w.result.Violation = v.check, v.text
		}
		res = w.result
	}()
	w.run()
	return w.result
}

func (w *world) run() {
	w.plan = w.drawPlan()
	w.units = w.drawUnits()
	w.control = newControl(w)
	for i := range w.opt.Nodes {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	w.control.bootstrap()
	for _, n := range w.nodes {
		n.start()
	}
	for i := range w.opt.Clients {
		c := newClient(w, i)
		w.clients = append(w.clients, c)
		w.after(w.between(0, thinking), c.act)
	}
	w.after(w.between(0, w.plan.every), w.nemesis)
	w.runUntil(w.opt.Faults)
	w.heal()
	w.settle()
	w.readEverything()
	w.checkEnd()
}

// maxEvents is far above what any run needs.
const maxEvents = 300_000

// runUntil lets things happen until the end.
func (w *world) runUntil(end time.Duration) {
	for len(w.queue.events) > 0 && w.queue.events[0].at <= end {
		e := w.queue.pop()
		w.now = e.at
		if w.queue.serial > maxEvents {
			w.violate(Rest, "%d events: what is sent makes more be sent", w.queue.serial)
		}
		w.mix(uint64(e.at))
		n := e.node
		switch {
		case n == nil:
			e.do()
		case !n.up || e.process != 0 && e.process != n.process:
		case w.now < n.paused:
			e.at, e.process = n.paused, n.process
			w.queue.push(e)
		default:
			e.do()
			n.drain()
		}
	}
	w.now = end
}

// after schedules do.
func (w *world) after(d time.Duration, do func()) { w.queue.push(event{at: w.now + d, do: do}) }

// between draws a duration.
func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// pick draws one of the values.
func pick[T any](w *world, values ...T) T { return values[w.rng.IntN(len(values))] }
