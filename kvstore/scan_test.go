package kvstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// scan reads pages to the end, and returns what they have by key. It makes sure
// that each snapshot has its keys in order.
func (p *process) scan(req kvstore.ScanRequest) (found map[string]string, pages int, err error) {
	p.t.Helper()
	found = map[string]string{}
	last := map[string]string{}
	for {
		page, err := p.router.Scan(within(p.t), req)
		if err != nil {
			return found, pages, err
		}
		pages++
		limit := req.Limit
		if limit == 0 {
			limit = api.DefaultScanItems
		}
		if len(page.Items) > limit {
			p.t.Errorf("a page of %d items, at most %d were wanted", len(page.Items), limit)
		}
		for _, i := range page.Items {
			key := string(i.Key)
			if before, ok := last[page.Snapshot]; ok && before >= key {
				p.t.Errorf("%q stands behind %q", key, before)
			}
			last[page.Snapshot] = key
			if _, twice := found[key]; twice {
				p.t.Errorf("%q was shown twice", key)
			}
			found[key] = string(i.Value)
		}
		if page.Cursor == "" {
			return found, pages, nil
		}
		req.Cursor = page.Cursor
	}
}

func (p *process) wantScan(req kvstore.ScanRequest, want map[string]string) (pages int) {
	p.t.Helper()
	found, pages, err := p.scan(req)
	if err != nil || !maps.Equal(found, want) {
		p.t.Fatalf("scan of %q from %s: %v, %v, want %v", req.Prefix, p.id, found, err, want)
	}
	return pages
}

func all(prefix string) kvstore.ScanRequest {
	return kvstore.ScanRequest{Prefix: []byte(prefix), Partition: -1}
}

// all2 is all in pages of two items.
func all2(prefix string) kvstore.ScanRequest {
	req := all(prefix)
	req.Limit = 2
	return req
}

func TestScan(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	everything, under, tagged := map[string]string{}, map[string]string{}, map[string]string{}
	for i := range 60 {
		key, value := fmt.Sprintf("k/%02d", i), fmt.Sprint("value ", i)
		switch i % 3 {
		case 1:
			key = fmt.Sprintf("other %d", i)
		case 2:
			key = fmt.Sprintf("{tag}/%d", i)
			tagged[key] = value
		default:
			under[key] = value
		}
		everything[key] = value
		nodes["a"].set(key, value)
		if i == 30 {
			nodes["a"].waitApplied() // the rest may not be in the storage yet
		}
	}
	nodes["b"].delete("k/00")
	delete(everything, "k/00")
	delete(under, "k/00")
	for _, p := range nodes {
		p.wantScan(all(""), everything)
		p.wantScan(all("k/"), under)
		p.wantScan(all("k0"), map[string]string{})
		p.wantScan(all("\xff"), map[string]string{})
		small := all("k/")
		small.Limit = 2
		if pages := p.wantScan(small, under); pages < 10 {
			t.Errorf("%d items in %d pages of 2", len(under), pages)
		}
		if pages := p.wantScan(all("{tag}"), tagged); pages != 1 {
			t.Errorf("the keys of one tag in %d pages", pages)
		}
		parts := map[string]string{}
		for part := range 4 {
			of, _, err := p.scan(kvstore.ScanRequest{Prefix: []byte("k/"), Partition: part})
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(parts, of)
		}
		if !maps.Equal(parts, under) {
			t.Errorf("partition by partition: %v", parts)
		}
	}
}

// However large the values, a page has one item and otherwise keeps to its size.
func TestScanOfLargeValues(t *testing.T) {
	c := newControl(1, "a")
	nodes := startAll(t, c, "a")
	want := map[string]string{}
	for i, size := range []int{api.MaxValueBytes, 10, 400 << 10, 400 << 10, 400 << 10, api.MaxValueBytes} {
		key := fmt.Sprint("key ", i)
		want[key] = strings.Repeat(strconv.Itoa(i), size)
		nodes["a"].set(key, want[key])
	}
	if pages := nodes["a"].wantScan(all("key"), want); pages != 4 {
		t.Errorf("%d pages, want 4", pages)
	}
}

// A scan shows one state, whatever is written meanwhile, who becomes primary, and
// whom it asks.
func TestScanShowsOneState(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	want := map[string]string{}
	for i := range 10 {
		want[fmt.Sprint(i)] = "before"
		nodes["a"].set(fmt.Sprint(i), "before")
	}
	req := all("")
	req.Limit = 3
	first, err := nodes["b"].router.Scan(within(t), req)
	if err != nil || len(first.Items) != 3 {
		t.Fatalf("%+v, %v", first, err)
	}
	for i := range 10 {
		nodes["a"].set(fmt.Sprint(i), "after")
		nodes["a"].set(fmt.Sprint(i, " is new"), "after")
	}
	nodes["a"].delete("5")
	nodes["a"].waitApplied()
	c.elect("c")
	nodes["a"].set("6", "at c")
	for _, p := range nodes {
		rest := map[string]string{}
		for _, i := range first.Items {
			rest[string(i.Key)] = string(i.Value)
		}
		next := req
		next.Cursor = first.Cursor
		found, _, err := p.scan(next)
		maps.Copy(rest, found)
		if err != nil || !maps.Equal(rest, want) {
			t.Errorf("the rest through %s: %v, %v, want %v", p.id, found, err, want)
		}
	}
}

// While batches write two keys alike, every scan shows them alike, although they
// are on pages of their own and move from memory into the storage meanwhile.
func TestScanOfWhatChanges(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for i := range 5 {
		nodes["a"].set(fmt.Sprint("m", i), "between")
	}
	const writes = 150
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range writes {
			value := fmt.Append(nil, i)
			b := api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: []byte("a"), Value: value}, {Op: api.OpSet, Key: []byte("z"), Value: value}}}
			if i%7 == 6 {
				b.Commands[0].Op, b.Commands[1].Op = api.OpDelete, api.OpDelete
				b.Commands[0].Value, b.Commands[1].Value = nil, nil
			}
			if _, err := nodes["b"].router.Execute(within(t), kvstore.Request{}, b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	lowest := -1
	for lowest < writes-1 && !t.Failed() {
		req := all2("")
		found, _, err := nodes["a"].scan(req)
		a, is := found["a"]
		if z, too := found["z"]; err != nil || a != z || is != too || len(found) < 5 {
			t.Fatalf("a is %q and z is %q: %v, %v", a, z, found, err)
		}
		if !is {
			continue
		}
		n, err := strconv.Atoi(a)
		if err != nil || n < lowest {
			t.Fatalf("%q after %d: %v", a, lowest, err)
		}
		lowest = n
	}
	wg.Wait()
}

// What a scan does not show because it has run out is deleted on all replicas
// before, so that nobody shows it again.
func TestScanDeletesWhatHasRunOut(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	want := map[string]string{"last": "stays"}
	for i := range 5 {
		if _, err := nodes["b"].execute(api.Command{Op: api.OpSet, Key: fmt.Append(nil, i), Value: []byte("v"), TTL: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nodes["b"].execute(api.Command{Op: api.OpSet, Key: []byte("last"), Value: []byte("stays"), TTL: 1e6}); err != nil {
		t.Fatal(err)
	}
	for ctx := within(t); ; {
		req := all2("")
		found, _, err := nodes["c"].scan(req)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%v, %v", found, err)
		}
		if maps.Equal(found, want) {
			break
		}
	}
	for id, p := range nodes {
		if id != "a" {
			c.elect(id) // and with that it has everything
			nodes[id].want("last", "stays")
		}
		p.waitApplied()
		if n := p.node.Stored(0); n != 1 {
			t.Errorf("%s still stores %d items", id, n)
		}
	}
}

// When the epoch of a snapshot is over, nobody can tell whether another primary
// has shown what had run out by it.
func TestScanThatMeetsWhatHasRunOutTooLate(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for _, key := range []string{"1", "2"} {
		nodes["a"].set(key, "stays")
	}
	for _, key := range []string{"3", "later"} {
		if _, err := nodes["b"].execute(api.Command{Op: api.OpSet, Key: []byte(key), Value: []byte("v"), TTL: 1}); err != nil {
			t.Fatal(err)
		}
	}
	nodes["a"].set("4", "stays")
	for ctx := within(t); ; { // until 3 has run out, without looking at it
		r, err := nodes["a"].execute(api.Command{Op: api.OpGet, Key: []byte("later")})
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%+v, %v", r, err)
		}
		if !r.Found {
			break
		}
	}
	req := all2("")
	page, err := nodes["a"].router.Scan(within(t), req)
	if err != nil || len(page.Items) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	c.elect("b")
	nodes["b"].want("4", "stays")
	req.Cursor = page.Cursor
	if _, err := nodes["a"].router.Scan(within(t), req); !errors.Is(err, api.ErrSnapshotGone) {
		t.Errorf("the page with what has run out: %v", err)
	}
}

func TestScanWithoutItsSnapshot(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for i := range 6 {
		nodes["a"].set(fmt.Sprint(i), "v")
	}
	req := all2("")
	page, err := nodes["b"].router.Scan(within(t), req)
	if err != nil || nodes["a"].node.OpenScans() != 1 {
		t.Fatalf("%+v, %v, %d open", page, err, nodes["a"].node.OpenScans())
	}
	req.Cursor = page.Cursor
	nodes["a"].kill()
	c.depose("a")
	nodes["b"].set("3", "newer")
	nodes["b"].set("00", "before the cursor")
	if _, err := nodes["b"].router.Scan(within(t), req); !errors.Is(err, api.ErrSnapshotGone) {
		t.Errorf("its node has gone: %v", err)
	}
	newer := req
	newer.Newer = true
	nodes["c"].wantScan(newer, map[string]string{"2": "v", "3": "newer", "4": "v", "5": "v"})
	nodes["a"].start()
	for _, p := range nodes {
		if _, err := p.router.Scan(within(t), req); !errors.Is(err, api.ErrSnapshotGone) {
			t.Errorf("its node has restarted: %v", err)
		}
	}
	for range 100 {
		if _, err := nodes["b"].router.Scan(within(t), all2("")); err != nil {
			t.Fatal(err)
		}
	}
	if n := nodes["b"].node.OpenScans(); n > 64 {
		t.Errorf("%d snapshots are open", n)
	}
}

// Whoever cannot show that it is primary gives no first page.
func TestScanNeedsLeaseOrConfirmation(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	want := map[string]string{"k": "v"}
	nodes["a"].set("k", "v")
	nodes["a"].cluster.expired.Store(true)
	nodes["a"].wantScan(all(""), want) // confirmed
	nodes["b"].deafen()
	nodes["c"].deafen()
	if _, err := nodes["a"].router.Scan(within(t), all("")); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("without lease and confirmation: %v", err)
	}
	nodes["a"].cluster.expired.Store(false)
	nodes["a"].wantScan(all(""), want)
}

func TestScansThatAreRefused(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for i := range 40 {
		nodes["a"].set(fmt.Sprint("k", i), "v")
	}
	good, err := nodes["a"].router.Scan(within(t), all2("k"))
	if err != nil || good.Cursor == "" {
		t.Fatalf("%+v, %v", good, err)
	}
	turned := []byte(good.Cursor)
	turned[20] ^= 'a' ^ 'b' // another letter or digit of the alphabet, or none of it
	for name, tt := range map[string]struct {
		change func(*kvstore.ScanRequest)
		err    error
	}{
		"a long prefix":              {func(r *kvstore.ScanRequest) { r.Prefix = bytes.Repeat([]byte("k"), api.MaxKeyBytes+1) }, api.ErrTooLarge},
		"a partition that is none":   {func(r *kvstore.ScanRequest) { r.Partition = 4 }, api.ErrBadRequest},
		"a limit that is none":       {func(r *kvstore.ScanRequest) { r.Limit = api.MaxScanItems + 1 }, api.ErrBadRequest},
		"a negative limit":           {func(r *kvstore.ScanRequest) { r.Limit = -1 }, api.ErrBadRequest},
		"no cursor of this cluster":  {func(r *kvstore.ScanRequest) { r.Cursor = "AAAA" }, api.ErrBadRequest},
		"a cursor with a bit turned": {func(r *kvstore.ScanRequest) { r.Cursor = string(turned) }, api.ErrBadRequest},
		"a cursor that is cut":       {func(r *kvstore.ScanRequest) { r.Cursor = good.Cursor[:len(good.Cursor)-3] }, api.ErrBadRequest},
		"a long cursor":              {func(r *kvstore.ScanRequest) { r.Cursor = strings.Repeat("A", api.MaxCursorBytes+1) }, api.ErrBadRequest},
		"another prefix":             {func(r *kvstore.ScanRequest) { r.Cursor, r.Prefix = good.Cursor, []byte("x") }, api.ErrBadRequest},
		"another partition":          {func(r *kvstore.ScanRequest) { r.Cursor, r.Partition = good.Cursor, 1 }, api.ErrBadRequest},
		"another primary":            {func(r *kvstore.ScanRequest) { r.NoForward, r.Partition = true, 1 }, api.ErrNotPrimary},
	} {
		req := all2("k")
		tt.change(&req)
		if _, err := nodes["a"].router.Scan(within(t), req); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}
