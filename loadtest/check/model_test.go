package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// op is an operation that was under way from call to ret.
func op(client int, call, ret time.Duration, o target.Op, r target.Result) history.Operation {
	return history.Operation{Client: client, Call: call, Return: ret, Op: o, Result: r}
}

func set(client int, call, ret time.Duration, v string) history.Operation {
	return op(client, call, ret, target.Op{Kind: target.Set, Key: "k", Value: []byte(v)}, target.Result{})
}

func del(client int, call, ret time.Duration) history.Operation {
	return op(client, call, ret, target.Op{Kind: target.Delete, Key: "k"}, target.Result{})
}

func get(client int, call, ret time.Duration, v string) history.Operation {
	return op(client, call, ret, target.Op{Kind: target.Get, Key: "k"}, target.Result{Found: v != "", Value: []byte(v)})
}

func incr(client int, call, ret time.Duration, n int64) history.Operation {
	return op(client, call, ret, target.Op{Kind: target.Increment, Key: "k", Delta: 1}, target.Result{Number: n})
}

func add(client int, call, ret time.Duration, v string, length int64) history.Operation {
	return op(client, call, ret, target.Op{Kind: target.Append, Key: "k", Value: []byte(v)}, target.Result{Number: length})
}

func makeNew(client int, call, ret time.Duration, v string, met bool) history.Operation {
	return op(client, call, ret, target.Op{Kind: target.Create, Key: "k", Value: []byte(v)}, target.Result{Met: met})
}

func cas(client int, call, ret time.Duration, from, to string, met bool) history.Operation {
	o := op(client, call, ret, target.Op{Kind: target.CompareAndSet, Key: "k", Value: []byte(to)}, target.Result{Met: met})
	o.Expect = []byte(from)
	return o
}

// both is a batch on two keys that share a tag.
func both(client int, call, ret time.Duration, kind target.Kind, a, b string) history.Operation {
	o := history.Operation{Client: client, Call: call, Return: ret, Op: target.Op{Kind: target.Batch}}
	for key, v := range map[string]string{"{t}a": a, "{t}b": b} {
		part := target.Op{Kind: kind, Key: key}
		var r target.Result
		if kind == target.Get {
			r = target.Result{Found: v != "", Value: []byte(v)}
		} else {
			part.Value = []byte(v)
		}
		o.Op.Ops, o.Result.Results = append(o.Op.Ops, part), append(o.Result.Results, r)
	}
	return o
}

// scan is a scan of the two keys of such a batch, and of what is beside them.
func scan(client int, call, ret time.Duration, a, b string, beside ...string) history.Operation {
	o := both(client, call, ret, target.Get, a, b)
	o.Op.Kind, o.Op.Key = target.ScanPrefix, "{t}"
	for _, v := range beside {
		o.Result.Results = append(o.Result.Results, target.Result{Found: true, Value: []byte(v)})
	}
	return o
}

func unknown(o history.Operation) history.Operation {
	o.Outcome, o.Return, o.Result = target.Unknown, history.Forever, target.Result{}
	return o
}

func failed(o history.Operation) history.Operation {
	o.Outcome, o.Result, o.Err = target.Failed, target.Result{}, "refused"
	return o
}

func final(o history.Operation) history.Operation {
	o.Final = true
	return o
}

func TestHistories(t *testing.T) {
	for _, tc := range []struct {
		name string
		ops  []history.Operation
		// want are the kinds that must be found, no others; none for a good history.
		want []Kind
	}{
		{"nothing", nil, nil},
		{"one after the other", []history.Operation{get(1, 0, 1, ""), set(1, 2, 3, "a"), get(2, 4, 5, "a"), del(1, 6, 7), get(2, 8, 9, "")}, nil},
		{"a read beside a write shows either", []history.Operation{set(1, 0, 1, "a"), set(1, 2, 9, "b"), get(2, 3, 4, "a"), get(2, 5, 6, "b")}, nil},
		{"and does not go back", []history.Operation{set(1, 0, 1, "a"), set(1, 2, 9, "b"), get(2, 3, 4, "b"), get(2, 5, 6, "a")}, []Kind{NotLinearizable}},
		{"a stale read", []history.Operation{set(1, 0, 1, "a"), set(1, 2, 3, "b"), get(2, 4, 5, "a")}, []Kind{Stale, NotLinearizable}},
		{"a stale read of nothing", []history.Operation{set(1, 0, 1, "a"), get(2, 4, 5, "")}, []Kind{Stale, NotLinearizable}},
		{"a deleted value", []history.Operation{set(1, 0, 1, "a"), del(1, 2, 3), get(2, 4, 5, "a")}, []Kind{Stale, NotLinearizable}},
		{"a lost write", []history.Operation{set(1, 0, 1, "a"), set(1, 2, 3, "b"), final(get(2, 4, 5, "a"))}, []Kind{Lost, NotLinearizable}},
		{"a value of nobody", []history.Operation{set(1, 0, 1, "a"), get(2, 4, 5, "x")}, []Kind{Corrupt, NotLinearizable}},
		{"a value of the future", []history.Operation{get(2, 0, 1, "a"), set(1, 2, 3, "a")}, []Kind{Corrupt, NotLinearizable}},
		{"a failed write has no effect", []history.Operation{set(1, 0, 1, "a"), failed(set(1, 2, 3, "b")), get(2, 4, 5, "a")}, nil},
		{"a failed write that shows", []history.Operation{set(1, 0, 1, "a"), failed(set(1, 2, 3, "b")), get(2, 4, 5, "b")}, []Kind{Phantom, NotLinearizable}},
		{"an unknown write never happens", []history.Operation{set(1, 0, 1, "a"), unknown(set(1, 2, 3, "b")), get(2, 4, 5, "a")}, nil},
		{"an unknown write happens late", []history.Operation{set(1, 0, 1, "a"), unknown(set(1, 2, 3, "b")), get(2, 4, 5, "a"), get(2, 6, 7, "b")}, nil},
		{"an unknown write happens once", []history.Operation{unknown(set(1, 2, 3, "b")), get(2, 4, 5, "b"), set(2, 6, 7, "c"), get(2, 8, 9, "b")}, []Kind{NotLinearizable}},
		{"an unknown delete", []history.Operation{set(1, 0, 1, "a"), unknown(del(3, 2, 3)), get(2, 4, 5, "a"), get(2, 6, 7, "")}, nil},
		{"create once", []history.Operation{makeNew(1, 0, 1, "a", true), makeNew(2, 2, 3, "b", false), get(2, 4, 5, "a")}, nil},
		{"create twice", []history.Operation{makeNew(1, 0, 1, "a", true), makeNew(2, 2, 3, "b", true)}, []Kind{NotLinearizable}},
		{"create refused for no reason", []history.Operation{makeNew(1, 0, 1, "a", false)}, []Kind{NotLinearizable}},
		{"a refused create that shows", []history.Operation{makeNew(1, 0, 1, "a", true), makeNew(2, 2, 3, "b", false), get(2, 4, 5, "b")}, []Kind{Corrupt, NotLinearizable}},
		{"a refusal beside a failed write", []history.Operation{unknown(makeNew(1, 0, 1, "a", true)), makeNew(2, 2, 3, "b", false)}, nil},
		{"compare and set", []history.Operation{set(1, 0, 1, "a"), cas(1, 2, 3, "a", "b", true), cas(2, 4, 5, "a", "c", false), get(1, 6, 7, "b")}, nil},
		{"two from the same value", []history.Operation{set(1, 0, 1, "a"), cas(1, 2, 5, "a", "b", true), cas(2, 2, 5, "a", "c", true)}, []Kind{NotLinearizable}},
		{"refused by what is lost then", []history.Operation{set(1, 0, 1, "a"), cas(2, 2, 3, "a", "c", false), get(1, 6, 7, "a")}, []Kind{NotLinearizable}},
		{"count", []history.Operation{get(1, 0, 1, ""), incr(1, 2, 3, 1), incr(2, 2, 5, 2), get(1, 6, 7, "2")}, nil},
		{"a lost increment", []history.Operation{incr(1, 2, 3, 1), incr(2, 4, 5, 1)}, []Kind{Lost, Stale, NotLinearizable}},
		{"an increment lost for good", []history.Operation{incr(1, 2, 3, 1), incr(2, 4, 5, 2), final(get(1, 6, 7, "1"))}, []Kind{Lost, NotLinearizable}},
		{"an increment twice", []history.Operation{incr(1, 2, 3, 1), incr(2, 4, 5, 3)}, []Kind{Duplicated, NotLinearizable}},
		{"an unknown increment", []history.Operation{incr(1, 2, 3, 1), unknown(incr(3, 2, 3, 0)), incr(2, 4, 5, 3)}, nil},
		{"an unknown increment twice", []history.Operation{unknown(incr(3, 2, 3, 0)), final(get(2, 4, 5, "2"))}, []Kind{Duplicated, NotLinearizable}},
		{"no number", []history.Operation{incr(1, 0, 1, 1), get(1, 2, 3, "x")}, []Kind{Corrupt, NotLinearizable}},
		{"append", []history.Operation{add(1, 0, 1, "a,", 2), add(2, 0, 5, "b,", 4), get(1, 2, 3, "a,"), get(1, 6, 7, "a,b,")}, nil},
		{"an element missing", []history.Operation{add(1, 0, 1, "a,", 2), get(1, 2, 3, "")}, []Kind{Stale, NotLinearizable}},
		{"an element missing for good", []history.Operation{add(1, 0, 1, "a,", 2), add(2, 2, 3, "b,", 4), final(get(1, 4, 5, "b,"))}, []Kind{Lost, NotLinearizable}},
		{"an element twice", []history.Operation{unknown(add(1, 0, 1, "a,", 2)), get(1, 2, 3, "a,a,")}, []Kind{Duplicated, NotLinearizable}},
		{"an element of nobody", []history.Operation{add(1, 0, 1, "a,", 2), get(1, 2, 3, "a,x,")}, []Kind{Corrupt, NotLinearizable}},
		{"half an element", []history.Operation{add(1, 0, 1, "abc,", 4), get(1, 2, 3, "ab")}, []Kind{Corrupt, Stale, NotLinearizable}},
		{"an element that failed", []history.Operation{failed(add(1, 0, 1, "a,", 2)), get(1, 2, 3, "a,")}, []Kind{Phantom, NotLinearizable}},
		{"two orders", []history.Operation{add(1, 0, 9, "a,", 2), add(2, 0, 9, "b,", 2), get(3, 1, 8, "a,b,"), get(4, 1, 8, "b,a,")}, []Kind{Lost, NotLinearizable}},
		{"a batch", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), both(1, 2, 9, target.Set, "2", "2"), both(2, 3, 4, target.Get, "1", "1"), both(2, 5, 6, target.Get, "2", "2")}, nil},
		{"a torn batch", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), both(1, 2, 9, target.Set, "2", "2"), both(2, 3, 4, target.Get, "1", "2")}, []Kind{Torn, NotLinearizable}},
		{"a batch torn by a power cut", []history.Operation{unknown(both(1, 0, 1, target.Set, "1", "1")), final(both(2, 3, 4, target.Get, "1", ""))}, []Kind{Torn, NotLinearizable}},
		{"a scan", []history.Operation{scan(2, 0, 1, "", ""), both(1, 2, 9, target.Set, "2", "2"), scan(2, 3, 4, "", ""), scan(2, 5, 6, "2", "2")}, nil},
		{"a torn scan", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), both(1, 2, 9, target.Set, "2", "2"), scan(2, 3, 4, "1", "2")}, []Kind{Torn, NotLinearizable}},
		{"a scan that misses a key", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), scan(2, 3, 4, "1", "")}, []Kind{Torn, Stale, NotLinearizable}},
		{"a stale scan", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), both(1, 2, 3, target.Set, "2", "2"), scan(2, 4, 5, "1", "1")}, []Kind{Stale, NotLinearizable}},
		{"a scan that shows more than there is", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), scan(2, 3, 4, "1", "1", "1")}, []Kind{Corrupt, NotLinearizable}},
		{"a stale batch", []history.Operation{both(1, 0, 1, target.Set, "1", "1"), both(1, 2, 3, target.Set, "2", "2"), both(2, 4, 5, target.Get, "1", "1")}, []Kind{Stale, NotLinearizable}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := History(tc.ops, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for kind := range v.Counts {
				if !slices.Contains(tc.want, kind) {
					t.Errorf("found %v, want %v", v.Findings, tc.want)
				}
			}
			for _, kind := range tc.want {
				if v.Counts[kind] == 0 {
					t.Errorf("found %v, want %v", v.Findings, tc.want)
				}
			}
			want := Passed
			if len(tc.want) > 0 {
				want = Violated
			} else if len(tc.ops) == 0 {
				want = NotRun
			}
			if got := v.Outcome(); got != want {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

// Two values that were told with one version.
func TestVersions(t *testing.T) {
	a, b := set(1, 0, 1, "a"), get(1, 2, 3, "b")
	a.Result.Version, b.Result.Version = "1.1", "1.1"
	v, err := History([]history.Operation{a, set(2, 0, 5, "b"), b}, Options{})
	if err != nil || v.Counts[Corrupt] != 1 {
		t.Errorf("%v, %v", v, err)
	}
}

// A history that is wrong is saved, and found wrong again from the file.
func TestSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	ops := []history.Operation{set(1, 0, 1, "a"), set(1, 2, 3, "b"), unknown(del(4, 3, 3)), final(get(2, 4, 5, "a")), set(3, 3, 4, "c")}
	ops[4].Op.Key = "another/key"
	v, err := History(ops, Options{Dir: dir})
	if err != nil || v.Outcome() != Violated || v.Findings[0].File == "" {
		t.Fatalf("%+v, %v", v, err)
	}
	again, err := history.ReadFile(v.Findings[0].File + ".jsonl")
	if err != nil || len(again) != 4 {
		t.Fatalf("%v, %v", again, err)
	}
	w, err := History(again, Options{})
	if err != nil || w.Outcome() != Violated {
		t.Errorf("%+v, %v", w, err)
	}
	html, err := os.ReadFile(v.Findings[0].File + ".html")
	if err != nil || !strings.Contains(string(html), "delete (unknown)") {
		t.Errorf("the drawing: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("saved are %v", files)
	}
}

// What cannot be decided in its time is no success: a sum of which one would have
// to try whatever thirty increments can add up to.
func TestUndecided(t *testing.T) {
	ops := []history.Operation{set(1, 0, 1, "0")}
	for i := range 30 {
		o := unknown(incr(2+i, 2, 3, 0))
		o.Op.Delta = 1 << (i + 1)
		ops = append(ops, o)
	}
	ops = append(ops, get(1, 4, 5, "1"))
	v, err := History(ops, Options{Timeout: 20 * time.Millisecond})
	if err != nil || v.Outcome() != Unproved || v.Counts[Undecided] != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestReadsOfManyKeysAreReadsOfEach(t *testing.T) {
	many := func(a, b string) history.Operation {
		o := history.Operation{Client: 2, Call: 4, Return: 5, Op: target.Op{Kind: target.MGet, Ops: []target.Op{{Kind: target.Get, Key: "k"}, {Kind: target.Get, Key: "other"}}}}
		o.Result.Results = []target.Result{{Found: a != "", Value: []byte(a)}, {Found: b != "", Value: []byte(b)}}
		return o
	}
	for want, o := range map[Outcome]history.Operation{Passed: many("a", ""), Violated: many("", "")} {
		v, err := History([]history.Operation{set(1, 0, 1, "a"), o}, Options{})
		if err != nil || v.Outcome() != want || v.Units != 2 {
			t.Errorf("%+v, %v, want %v", v, err, want)
		}
	}
}

func TestWhatCannotBeChecked(t *testing.T) {
	scan := op(1, 0, 1, target.Op{Kind: target.Scan, Key: "k"}, target.Result{})
	torn := both(1, 0, 1, target.Set, "1", "1")
	torn.Op.Ops[0].Key = "elsewhere"
	for name, o := range map[string]history.Operation{"scan": scan, "batch": torn} {
		if v, err := History([]history.Operation{o}, Options{}); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
