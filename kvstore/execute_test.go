package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// execute executes one command on a node, as soon as it is not refused.
func (p *process) execute(c api.Command) (api.Result, error) {
	p.t.Helper()
	return p.repeat(api.Batch{Commands: []api.Command{c}}, api.ErrUnavailable)
}

// repeat executes a batch again for as long as it fails with one of the errors,
// and returns its first result.
func (p *process) repeat(b api.Batch, errs ...error) (api.Result, error) {
	p.t.Helper()
	for ctx := within(p.t); ; {
		results, err := p.router.Execute(ctx, kvstore.Request{}, b)
		switch {
		case err == nil:
			return results[0], nil
		case ctx.Err() != nil || !slices.ContainsFunc(errs, func(again error) bool { return errors.Is(err, again) }):
			return api.Result{}, err
		}
	}
}

// TestIncrementsAndSwapsFromEverywhere has all nodes change one counter at
// once: by increments, and by compare-and-set.
func TestIncrementsAndSwapsFromEverywhere(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	const each = 40
	key := []byte("counter")
	var wg sync.WaitGroup
	for _, p := range nodes {
		wg.Go(func() {
			for range each {
				if _, err := p.execute(api.Command{Op: api.OpIncrement, Key: key, Delta: 1}); err != nil {
					t.Errorf("increment: %v", err)
				}
			}
		})
		wg.Go(func() {
			for done := 0; done < each && !t.Failed(); {
				seen, err := p.execute(api.Command{Op: api.OpGet, Key: key})
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				swap := api.Command{Op: api.OpSet, Key: key, Value: []byte("1"), If: api.IfAbsent}
				if seen.Found {
					number, _ := strconv.Atoi(string(seen.Value))
					swap.If, swap.Version, swap.Value = api.IfVersion, seen.Version, []byte(strconv.Itoa(number+1))
				}
				switch _, err = p.execute(swap); {
				case err == nil:
					done++
				case !errors.Is(err, api.ErrConditionFailed):
					t.Errorf("swap: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	nodes["b"].want("counter", strconv.Itoa(2*each*len(nodes)))
}

func TestARepeatedBatchIsExecutedOnce(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	b := api.Batch{ID: &api.RequestID{Client: "client", Seq: 1}, Commands: []api.Command{{Op: api.OpIncrement, Key: []byte("k"), Delta: 3}}}
	want := func(id, when string) {
		t.Helper()
		// It has an ID so that it may be repeated when nobody knows its outcome.
		if r, err := nodes[id].repeat(b, api.ErrUnavailable, api.ErrOutcomeUnknown); err != nil || r.Number != 3 {
			t.Fatalf("%s: %+v, %v", when, r, err)
		}
	}
	want("a", "first")
	want("b", "again, through another node")
	want("a", "a third time")
	c.elect("c")
	want("b", "at the next primary")
	nodes["c"].want("k", "3")
}

// A request whose time is over before what it depends on was read was not
// executed.
func TestALateRequestIsRefused(t *testing.T) {
	a := newProcess(t, newControl(1, "a"), "a")
	a.start()
	a.set("k", "v")
	late, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.router.Execute(late, kvstore.Request{}, api.Batch{Commands: []api.Command{{Op: api.OpIncrement, Key: []byte("never read"), Delta: 1}}})
	if !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	a.wantAbsent("never read")
}

func TestExpiredValuesAreGoneEverywhere(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	if _, err := nodes["b"].execute(api.Command{Op: api.OpSet, Key: []byte("k"), Value: []byte("v"), TTL: 1}); err != nil {
		t.Fatal(err)
	}
	for {
		r, err := nodes["c"].execute(api.Command{Op: api.OpGet, Key: []byte("k")})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Found {
			break
		}
	}
	nodes["a"].wantAbsent("k")
	c.elect("b")
	nodes["a"].wantAbsent("k")
}

func TestBatchesOfOnePartition(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	var apart []api.Command
	for i := range 40 {
		apart = append(apart, api.Command{Op: api.OpSet, Key: fmt.Append(nil, i)})
	}
	if _, err := nodes["a"].router.Execute(within(t), kvstore.Request{}, api.Batch{Commands: apart}); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("keys of several partitions: %v", err)
	}
	absent := api.Command{Op: api.OpSet, Key: []byte("one"), Value: []byte("x"), If: api.IfAbsent}
	twice := api.Batch{Commands: []api.Command{absent, absent}}
	if _, err := nodes["a"].router.Execute(within(t), kvstore.Request{}, twice); !errors.Is(err, api.ErrConditionFailed) {
		t.Errorf("a batch that contradicts itself: %v", err)
	}
	nodes["b"].wantAbsent("one")
}

// What a batch writes can be more than the storage takes at once, although the
// batch itself is small. It is refused before anybody has it in a log.
func TestBatchesWhoseEffectsAreTooLarge(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	big := make([]byte, api.MaxValueBytes)
	var expiries []api.Command
	for i := range 3 {
		key := fmt.Append(nil, "big ", i)
		if _, err := nodes["b"].execute(api.Command{Op: api.OpSet, Key: key, Value: big}); err != nil {
			t.Fatal(err)
		}
		expiries = append(expiries, api.Command{Op: api.OpExpire, Key: key, TTL: 1e6})
	}
	if _, err := nodes["a"].router.Execute(within(t), kvstore.Request{}, api.Batch{Commands: expiries}); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("expiries of large values: %v, want too large", err)
	}
	var deletes []api.Command
	for i := range 250 {
		deletes = append(deletes, api.Command{Op: api.OpDelete, Key: fmt.Append(bytes.Repeat([]byte("k"), api.MaxKeyBytes-3), 100+i)})
	}
	if _, err := nodes["a"].router.Execute(within(t), kvstore.Request{}, api.Batch{Commands: deletes}); err != nil {
		t.Errorf("as many long keys as a batch may have: %v", err)
	}
	nodes["c"].set("after", "all")
	for id, p := range nodes {
		if err := p.node.Failure(); err != nil {
			t.Errorf("%s has failed: %v", id, err)
		}
	}
}
