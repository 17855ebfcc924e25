//go:build convict

package convict

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

var (
	table = flag.String("table", "", "file to write the table of convictions to")
	keep  = flag.String("keep", "", "directory for the histories that convict")
)

const (
	// patience is how many rounds a wrong store has until it must be convicted,
	// and calm how many a right one has to pass.
	patience = 12
	calm     = 4

	roundTimeout = 3 * time.Minute
	opTimeout    = 3 * time.Second
)

// suspect is a running store.
type suspect interface {
	// open returns the store as its clients see it.
	open(ctx context.Context) (target.Target, error)
	// hurt does to the store, under load, what a round is about.
	hurt(ctx context.Context, round int) error
	// heal makes it whole and waits until it serves again.
	heal(ctx context.Context) error
	// finish adds what is known of the store beside the history.
	finish(v *check.Verdict) error
	close()
}

// charge is a store and what is wrong with it.
type charge struct {
	what, faults string
	// right: nothing is wrong with it.
	right bool
	// needs, if not nil, says why this machine cannot run it, "" if it can.
	needs func(context.Context) string
	start func(ctx context.Context, dir string) (suspect, error)
}

// TestConvict runs each store until it is convicted, and a right one for a
// while.
func TestConvict(t *testing.T) {
	binary := build(t)
	var rows strings.Builder
	for _, c := range slices.Concat(nodes(binary), stores(binary)) {
		t.Run(c.what, func(t *testing.T) { rows.WriteString(c.try(t)) })
	}
	if *table == "" || t.Failed() {
		return
	}
	text := "# Wrong stores, and what finds them\n\n" +
		"Written by `make convict`. Each row is a store of real processes under load and faults, round after round, each with a history that is read back and checked, until a check fails. " +
		"[rules.go](../kvstore/planted/rules.go) describes the rules; only builds with the tag `planted` can break one.\n\n" +
		"| what is wrong | faults | found | in round | after seconds |\n|---|---|---|---|---|\n" + rows.String()
	if err := os.WriteFile(*table, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// try returns the row of the table.
func (c charge) try(t *testing.T) string {
	if c.needs != nil {
		if why := c.needs(t.Context()); why != "" {
			return fmt.Sprintf("| %s | %s | NOT RUN: %s | | |\n", c.what, c.faults, why)
		}
	}
	dir := t.TempDir()
	begun := time.Now()
	s, err := c.start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	rounds := patience
	if c.right {
		rounds = calm
	}
	operations := 0
	for round := 1; round <= rounds; round++ {
		v, err := c.round(t, s, round, filepath.Join(dir, fmt.Sprint("round-", round)))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		operations += v.OK + v.Failed + v.Unknown
		switch outcome := v.Outcome(); {
		case c.right && outcome != check.Passed:
			t.Fatalf("round %d of a right store: %s", round, summary(v))
		case outcome == check.Violated:
			took := time.Since(begun)
			t.Logf("round %d, %v: %s", round, took.Round(time.Second), summary(v))
			return fmt.Sprintf("| %s | %s | %s | %d | %.0f |\n", c.what, c.faults, found(v), round, took.Seconds())
		}
	}
	if !c.right {
		t.Fatalf("not convicted in %d rounds, %d operations", rounds, operations)
	}
	took := time.Since(begun)
	t.Logf("%d rounds, %d operations, %v", rounds, operations, took.Round(time.Second))
	return fmt.Sprintf("| %s | %s | nothing, in %d operations | %d | %.0f |\n", c.what, c.faults, operations, rounds, took.Seconds())
}

// round loads the store, hurts and heals it, and checks what clients saw.
func (c charge) round(t *testing.T, s suspect, round int, dir string) (*check.Verdict, error) {
	ctx, cancel := context.WithTimeout(t.Context(), roundTimeout)
	defer cancel()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	store, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	recorder := history.NewRecorder(file)
	cfg := history.Defaults(store, fmt.Sprint("round-", round))
	cfg.Clients, cfg.Keys, cfg.Think, cfg.Seed = 4*len(cfg.Workloads), 4, 2*time.Millisecond, uint64(round)
	load, err := history.New(cfg, store, recorder)
	if err != nil {
		return nil, err
	}
	loading, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); load.Run(loading) }()
	err = s.hurt(ctx, round)
	if err == nil {
		err = s.heal(ctx)
	}
	stop()
	<-done
	if err != nil {
		return nil, err
	}
	reading, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	unread := load.ReadBack(reading)
	if err := recorder.Close(); err != nil {
		return nil, err
	}
	ops, err := history.ReadFile(file.Name())
	if err != nil {
		return nil, err
	}
	saved := ""
	if *keep != "" {
		saved = filepath.Join(*keep, strings.ReplaceAll(t.Name(), "/", "-"), fmt.Sprint(round))
	}
	v, err := check.History(ops, check.Options{Dir: saved, Timeout: 20 * time.Second})
	if err != nil {
		return nil, err
	}
	v.AddUnread(unread)
	return v, s.finish(v)
}

func summary(v *check.Verdict) string {
	var b strings.Builder
	_, _ = v.WriteTo(&b) // a strings.Builder takes everything
	return b.String()
}

// found says what was found how often.
func found(v *check.Verdict) string {
	var parts []string
	for _, k := range []check.Kind{check.Lost, check.Duplicated, check.Stale, check.Torn, check.Corrupt, check.Phantom, check.TwoPrimaries, check.Crashed, check.NotLinearizable} {
		if n := v.Counts[k]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
		}
	}
	return strings.Join(parts, ", ")
}

// pause waits a little, for the load to meet what was done.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
