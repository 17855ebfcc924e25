package clusterkit

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	simSeeds = flag.Int("seeds", 200, "number of schedules to simulate")
	simFirst = flag.Uint64("seed", 1, "seed of the first schedule")
)

// TestSchedules simulates many random schedules. To replay one, and read it:
//
//	go test ./clusterkit -run TestSchedules -v -seeds 1 -seed N
func TestSchedules(t *testing.T) {
	start := time.Now()
	var (
		mu     sync.Mutex
		total  simCounts
		healed time.Duration
		wg     sync.WaitGroup
		next   = make(chan uint64)
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				opt := simOptionsOf(seed)
				if *simSeeds == 1 && testing.Verbose() {
					opt.log = func(line string) { fmt.Fprintln(t.Output(), line) }
				}
				r := simulate(opt)
				mu.Lock()
				if r.violation != "" {
					t.Errorf("seed %d (%d nodes, managed %v, volatile %v): %s", seed, opt.nodes, opt.managed, opt.volatile, r.violation)
				}
				total.add(r.simCounts)
				healed = max(healed, r.healed)
				mu.Unlock()
			}
		})
	}
	for i := range uint64(*simSeeds) {
		next <- *simFirst + i
	}
	close(next)
	wg.Wait()
	t.Logf("%d seeds from %d, %.0f seeds/s, at rest %v after the faults at the latest: %+v",
		*simSeeds, *simFirst, float64(*simSeeds)/time.Since(start).Seconds(), healed, total)
	if *simSeeds < 100 {
		return
	}
	counts := reflect.ValueOf(total)
	for i := range counts.NumField() {
		if counts.Field(i).Int() == 0 {
			t.Errorf("the schedules had no %s: they prove less than they should", counts.Type().Field(i).Name)
		}
	}
}

// TestDeposedLeaderHears: Raft promises that who leads no more knows it as soon
// as the new leader reaches it. Where nothing is lost or late, the adversary must
// not let anyone lead on for longer: its node would have no session meanwhile.
func TestDeposedLeaderHears(t *testing.T) {
	for seed := range uint64(50) {
		opt := simOptionsOf(seed)
		opt.joiners = 0
		w := newSimWorld(opt)
		w.healing = true
		for _, n := range w.nodes {
			n.start()
		}
		for _, n := range w.nodes[:3] {
			w.raft.elect(n)
			w.runUntil(w.now+300*time.Millisecond, func() bool { return false })
			for _, other := range w.nodes {
				if leads := other.ruling != nil; leads != (other == n) {
					t.Fatalf("seed %d: %s was elected, and %s leads in its own eyes: %t", seed, n.name, other.name, leads)
				}
			}
		}
	}
}

// TestReplay shows that a seed gives the same schedule each time.
func TestReplay(t *testing.T) {
	for seed := range uint64(10) {
		a, b := simulate(simOptionsOf(seed)), simulate(simOptionsOf(seed))
		if a != b {
			t.Errorf("seed %d: %+v and then %+v", seed, a, b)
		}
		if c := simulate(simOptionsOf(seed + 100)); c.hash == a.hash {
			t.Errorf("seeds %d and %d have the same schedule", seed, seed+100)
		}
	}
}

// TestDecisionsReadNoClock: whatever is decided, is from the readings that are
// given, of a clock that nobody can set.
func TestDecisionsReadNoClock(t *testing.T) {
	files := []string{"sessiontable.go", "tenure.go", "state.go", "decide.go", "volatile.go", "map.go", "fsm.go"}
	commands, err := filepath.Glob("command*.go")
	if err != nil || len(commands) < 3 {
		t.Fatalf("commands are in %v, %v", commands, err)
	}
	for _, name := range append(files, commands...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				of, _ := s.X.(*ast.Ident)
				_, isType := map[string]bool{"Duration": true, "Second": true, "Millisecond": true, "Minute": true}[s.Sel.Name]
				if of != nil && of.Name == "time" && !isType || s.Sel.Name == "Now" {
					t.Errorf("%s uses %s", name, s.Sel.Name)
				}
			}
			return true
		})
	}
}

func (c *simCounts) add(o simCounts) {
	c.elections += o.elections
	c.epochs += o.epochs
	c.endings += o.endings
	c.handOvers += o.handOvers
	c.copies += o.copies
	c.crashes += o.crashes
	c.pauses += o.pauses
	c.wipes += o.wipes
	c.goodbyes += o.goodbyes
	c.cuts += o.cuts
	c.orders += o.orders
	c.acked += o.acked
	c.lost += o.lost
}
