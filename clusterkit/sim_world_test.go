package clusterkit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// The simulation runs whole clusters in simulated time: the real state machine
// and the real decisions of leaders and nodes, on a Raft, a network, clocks,
// disks and processes that do what an adversary draws from one seed. True time
// is the axis of the only event queue; a node sees it through its own clock
// only, and there is no wall clock that could be set.

// simOptions choose a run.
type simOptions struct {
	seed uint64
	// nodes is the number of nodes, of which joiners come later.
	nodes, joiners       int
	partitions, replicas int
	// managed, volatile and reReplicate are as in [Options].
	managed, volatile bool
	reReplicate       time.Duration
	// removals: operators remove nodes. Then no disk is lost beside: together
	// the two may cost Raft its quorum.
	removals bool
	// faults is how long the adversary acts before everything is healed.
	faults time.Duration
	// broken is a rule that this run does not keep.
	broken simRule
	// log takes what happens, for a reader.
	log func(string)
}

// simOptionsOf are those of the schedule of that seed.
func simOptionsOf(seed uint64) simOptions {
	rng := rand.New(rand.NewPCG(seed, 1))
	o := simOptions{
		seed:       seed,
		nodes:      3 + rng.IntN(5),
		partitions: 1 + rng.IntN(4),
		replicas:   2 + rng.IntN(2),
		managed:    seed%2 == 0,
		volatile:   rng.IntN(5) == 0,
		removals:   rng.IntN(3) == 0,
		faults:     8 * time.Second,
	}
	if o.nodes > 3 {
		o.joiners = rng.IntN(2)
	}
	if rng.IntN(3) == 0 {
		o.reReplicate = 2 * time.Second
	}
	return o
}

// simResult is what a run has found.
type simResult struct {
	// violation is "" if every check passed.
	violation string
	// hash identifies the schedule.
	hash uint64
	// healed is how long it took until everything served again.
	healed time.Duration
	// simCounts say what happened, to see that something did.
	simCounts
}

type simCounts struct {
	elections, epochs, endings, handOvers, copies, crashes, pauses, wipes, goodbyes, cuts, orders, acked, lost int
}

// simWorld is one cluster.
type simWorld struct {
	opt    simOptions
	rng    *rand.Rand
	now    time.Duration
	queue  simQueue
	serial uint64
	trace  uint64
	raft   *simRaft
	nodes  []*simNode
	// cuts has until when nothing gets from one node to another.
	cuts    map[[2]int]time.Duration
	healing bool
	writes  []simWrites
	result  simResult
}

// simViolation ends a run.
type simViolation string

func (w *simWorld) violate(format string, args ...any) {
	panic(simViolation(fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)))
}

// newSimWorld has all nodes, and none of them runs.
func newSimWorld(opt simOptions) *simWorld {
	w := &simWorld{
		opt:    opt,
		rng:    rand.New(rand.NewPCG(opt.seed, 2)),
		cuts:   make(map[[2]int]time.Duration),
		writes: make([]simWrites, opt.partitions),
	}
	for i := range w.opt.nodes {
		w.nodes = append(w.nodes, newSimNode(w, i))
	}
	w.raft = newSimRaft(w)
	return w
}

// simulate runs one schedule.
func simulate(opt simOptions) (res simResult) {
	w := newSimWorld(opt)
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(simViolation)
			if !ok {
				panic(r)
			}
			w.result.violation = string(v)
			w.say("violation %s", v)
		}
		w.result.hash = w.trace
		res = w.result
	}()
	w.run()
	return w.result
}

func (w *simWorld) run() {
	for i, n := range w.nodes {
		if i < w.opt.nodes-w.opt.joiners {
			n.start()
		} else {
			w.after(w.between(0, w.opt.faults), n.start)
		}
	}
	w.after(w.between(0, 2*time.Second), w.nemesis)
	for i := range w.writes {
		w.after(w.between(0, time.Second), func() { w.write(i) })
	}
	w.runUntil(w.opt.faults, func() bool { return false })
	w.heal()
	healed := w.now
	// What was delayed before may still come, and disturb.
	w.runUntil(healed+simLongestDelay, func() bool { return false })
	w.runUntil(healed+simLivenessBound, w.settled)
	w.checkSettled()
	w.result.healed = w.now - healed
	// It stays so.
	w.runUntil(w.now+2*deposeAfter(DefaultLeaseDuration), func() bool { return false })
	w.checkSettled()
}

// runUntil runs what happens until then, or until done, and checks after each
// event. A lease ends between two events without one, but none begins.
func (w *simWorld) runUntil(end time.Duration, done func() bool) {
	look := w.now
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := w.queue.pop()
		w.now = e.at
		w.mix(uint64(e.at), e.serial)
		e.do()
		w.check()
		if w.now >= look {
			if done() {
				return
			}
			look = w.now + 50*time.Millisecond
		}
	}
	w.now = end
}

// after schedules do in true time.
func (w *simWorld) after(d time.Duration, do func()) {
	w.serial++
	w.queue.push(simEvent{w.now + d, w.serial, do})
}

// between draws a duration.
func (w *simWorld) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

func (w *simWorld) chance(p float64) bool { return w.rng.Float64() < p }

// mix makes the numbers part of the schedule's hash.
func (w *simWorld) mix(numbers ...uint64) {
	for _, x := range numbers {
		w.trace = (w.trace ^ x) * 0x100000001b3
		w.trace ^= w.trace >> 29
	}
}

// say tells a reader what happens.
func (w *simWorld) say(format string, args ...any) {
	if w.opt.log != nil {
		w.opt.log(fmt.Sprintf("%12v ", w.now) + fmt.Sprintf(format, args...))
	}
}

// send carries something from one node to another: it may be lost, late, or
// arrive twice, and whatever is under way may overtake it. It is dropped if no
// process is there, and waits if the process stands still.
func (w *simWorld) send(from, to *simNode, deliver func()) {
	if from == to {
		to.step(deliver)
		return
	}
	if w.isCut(from, to) {
		return
	}
	copies := 1
	if !w.healing {
		switch {
		case w.chance(0.01):
			return
		case w.chance(0.01):
			copies = 2
		}
	}
	for range copies {
		d := w.between(50*time.Microsecond, time.Millisecond)
		switch {
		case w.healing:
		case w.chance(0.02):
			d = w.between(0, 300*time.Millisecond)
		case w.chance(0.005):
			d = w.between(0, simLongestDelay)
		}
		w.after(d, func() { to.receive(deliver) })
	}
}

func (w *simWorld) isCut(from, to *simNode) bool { return w.now < w.cuts[[2]int{from.id, to.id}] }

// reach reports whether two nodes that run can talk to each other.
func (w *simWorld) reach(a, b *simNode) bool { return !w.isCut(a, b) && !w.isCut(b, a) }

// simCall asks a node to do something. done gets the answer, or an error: that
// the node was not there, or that the outcome is unknown. serve may run more
// than once; what counts is the answer that arrives first, in time.
func simCall[A any](from, to *simNode, timeout time.Duration, serve func(reply func(A)), done func(A, error)) {
	w, process := from.w, from.process
	ended := false
	end := func(a A, err error) {
		if !ended && from.process == process {
			ended = true
			done(a, err)
		}
	}
	if !to.up && !w.isCut(from, to) && w.chance(0.9) {
		from.later(w.between(50*time.Microsecond, time.Millisecond), func() { end(*new(A), ErrNoLeader) })
		return
	}
	w.send(from, to, func() {
		serve(func(a A) { w.send(to, from, func() { end(a, nil) }) })
	})
	from.sleep(timeout, func() { end(*new(A), ErrUnknown) })
}

func simMembers(members []Member) string {
	var out []string
	for _, c := range members {
		out = append(out, fmt.Sprintf("%s/%s/%d", c.Node, c.Store, c.Incarnation))
	}
	return strings.Join(out, " ")
}
