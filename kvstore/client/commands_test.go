package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// resultsFor answers a batch or a request for several keys with a result each.
func resultsFor(w http.ResponseWriter, n int, r api.Result) {
	answer := api.BatchAnswer{}
	for range n {
		answer.Results = append(answer.Results, r)
	}
	json.NewEncoder(w).Encode(answer)
}

func TestCommands(t *testing.T) {
	var got api.Batch
	addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		got = api.Batch{}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.URL.Path != api.PathBatch || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		resultsFor(w, len(got.Commands), api.Result{Found: true, Value: []byte("value"), Number: 7, Version: "3.7"})
	})
	c := newClient(t, addr)
	ctx, key := t.Context(), []byte("k")
	for name, tc := range map[string]struct {
		do   func() (any, error)
		want api.Command
		tell any
		id   bool
	}{
		"set if version": {func() (any, error) {
			return c.SetWith(ctx, "k", []byte("v"), SetOptions{If: api.IfVersion, Version: "1.2", TTL: 1500 * time.Millisecond})
		}, api.Command{Op: api.OpSet, Key: key, Value: []byte("v"), If: api.IfVersion, Version: "1.2", TTL: 1500}, "3.7", true},
		"set for a while": {func() (any, error) { return c.SetWith(ctx, "k", []byte("v"), SetOptions{TTL: time.Second}) },
			api.Command{Op: api.OpSet, Key: key, Value: []byte("v"), TTL: 1000}, "3.7", false},
		"set with the expiry there is": {func() (any, error) { return c.SetWith(ctx, "k", []byte("v"), SetOptions{KeepTTL: true}) },
			api.Command{Op: api.OpSet, Key: key, Value: []byte("v"), KeepTTL: true}, "3.7", false},
		"delete version": {func() (any, error) { return nil, c.DeleteVersion(ctx, "k", "1.2") },
			api.Command{Op: api.OpDelete, Key: key, If: api.IfVersion, Version: "1.2"}, nil, true},
		"increment": {func() (any, error) { return c.Increment(ctx, "k", -3) }, api.Command{Op: api.OpIncrement, Key: key, Delta: -3}, int64(7), true},
		"append":    {func() (any, error) { v, err := c.Append(ctx, "k", []byte("v")); return string(v), err }, api.Command{Op: api.OpAppend, Key: key, Value: []byte("v")}, "value", true},
		"expire":    {func() (any, error) { return c.Expire(ctx, "k", time.Minute) }, api.Command{Op: api.OpExpire, Key: key, TTL: 60000}, true, false},
		"get and set": {func() (any, error) {
			before, found, err := c.GetAndSet(ctx, "k", []byte("v"))
			return fmt.Sprint(string(before), found), err
		}, api.Command{Op: api.OpSet, Key: key, Value: []byte("v"), Report: true}, "valuetrue", true},
		"get": {func() (any, error) { r, err := c.Do(ctx, api.Command{Op: api.OpGet, Key: key}); return r.Version, err }, api.Command{Op: api.OpGet, Key: key}, "3.7", false},
	} {
		told, err := tc.do()
		if err != nil || told != tc.tell {
			t.Errorf("%s: told %v, %v, want %v", name, told, err, tc.tell)
		}
		if !reflect.DeepEqual(got.Commands, []api.Command{tc.want}) || (got.ID != nil) != tc.id {
			t.Errorf("%s: sent %+v, want %+v, with an ID: %t", name, got, tc.want, tc.id)
		}
	}
	results, err := c.Batch(ctx, api.Command{Op: api.OpSet, Key: key}, api.Command{Op: api.OpGet, Key: key})
	if err != nil || len(results) != 2 || got.ID != nil {
		t.Errorf("batch: %+v, %v; sent %+v", results, err, got)
	}
}

func TestTimeLeft(t *testing.T) {
	addr, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) {
		w.Header().Set(api.HeaderVersion, "3.7")
		w.Header().Set(api.HeaderTTL, "1500")
	})
	if v, err := newClient(t, addr).Get(t.Context(), "k"); err != nil || v.TTL != 1500*time.Millisecond {
		t.Errorf("%v, %v", v.TTL, err)
	}
}

func TestMGet(t *testing.T) {
	var got api.Keys
	addr, requests := fakeNode(t, func(w http.ResponseWriter, r *http.Request, nth int64) {
		if nth == 1 {
			panic(http.ErrAbortHandler) // a read is repeated
		}
		got = api.Keys{}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.URL.Path != api.PathMGet {
			t.Errorf("%s: %v", r.URL, err)
		}
		resultsFor(w, len(got.Keys), api.Result{Found: true, Value: []byte(strings.Repeat("x", 100<<10))})
	})
	c := newClient(t, addr)
	results, err := c.MGet(t.Context(), "a", "\xff")
	if err != nil || len(results) != 2 || string(got.Keys[1]) != "\xff" || requests.Load() != 2 {
		t.Errorf("%d results, %v; asked for %q in %d requests", len(results), err, got.Keys, requests.Load())
	}
	if _, err := c.MGet(t.Context(), "a", ""); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("an empty key: %v", err)
	}
}

// A write under an ID is repeated under the same until its outcome is told.
func TestWritesWithAnIDAreRepeated(t *testing.T) {
	seen := map[string]int{}
	var addr string
	addr, _ = fakeNode(t, func(w http.ResponseWriter, r *http.Request, nth int64) {
		var b api.Batch
		_ = json.NewDecoder(r.Body).Decode(&b)
		if r.Method == http.MethodPost {
			seen[fmt.Sprint(*b.ID)]++
		} else {
			seen[r.Header.Get(api.HeaderClient)+" "+r.Header.Get(api.HeaderSeq)]++
		}
		switch nth % 4 {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			fail(w, api.CodeOutcomeUnknown)
		case 3:
			w.WriteHeader(http.StatusBadGateway)
		default:
			if r.Method == http.MethodPost {
				resultsFor(w, 1, api.Result{Number: 1})
			} else {
				stored(w)
			}
		}
	})
	c := newClientWith(t, Config{Endpoints: []string{addr}, RequestIDs: OnAllWrites})
	if n, err := c.Increment(t.Context(), "k", 1); err != nil || n != 1 {
		t.Errorf("increment: %d, %v", n, err)
	}
	if _, err := c.Set(t.Context(), "k", []byte("v")); err != nil {
		t.Errorf("set: %v", err)
	}
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if len(seen) != 3 {
		t.Errorf("there were %d IDs for 3 writes", len(seen))
	}
	for id, times := range seen {
		if times != 4 {
			t.Errorf("%s was sent %d times", id, times)
		}
	}
}

func TestOutcomesUnderAnID(t *testing.T) {
	for name, tc := range map[string]struct {
		policy  RequestIDs
		answers []api.Code // the last one is repeated
		want    error
	}{
		"never told":                       {WhereRepetitionShows, []api.Code{api.CodeOutcomeUnknown}, api.ErrOutcomeUnknown},
		"unknown, then nobody could":       {WhereRepetitionShows, []api.Code{api.CodeOutcomeUnknown, api.CodeUnavailable}, api.ErrOutcomeUnknown},
		"nobody could":                     {WhereRepetitionShows, []api.Code{api.CodeUnavailable}, api.ErrUnavailable},
		"unknown, then told":               {WhereRepetitionShows, []api.Code{api.CodeOutcomeUnknown, api.CodeConditionFailed}, api.ErrConditionFailed},
		"without an ID the first is final": {OnNoWrite, []api.Code{api.CodeOutcomeUnknown, api.CodeConditionFailed}, api.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, nth int64) {
				fail(w, tc.answers[min(int(nth), len(tc.answers))-1])
			})
			c := newClientWith(t, Config{Endpoints: []string{addr}, Timeout: 300 * time.Millisecond, RequestIDs: tc.policy})
			_, err := c.Increment(t.Context(), "k", 1)
			if !errors.Is(err, tc.want) || errors.Is(err, api.ErrOutcomeUnknown) != errors.Is(tc.want, api.ErrOutcomeUnknown) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			wantPlain(t, err)
		})
	}
}

// An answer that is not what was asked for leaves a write's outcome unknown.
func TestResultsThatCannotBe(t *testing.T) {
	for _, body := range []string{"", "{}", `{"results":[{},{}]}`, "nonsense"} {
		addr, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { fmt.Fprint(w, body) })
		c := newClientWith(t, Config{Endpoints: []string{addr}, Timeout: 300 * time.Millisecond, RequestIDs: OnNoWrite})
		if _, err := c.Increment(t.Context(), "k", 1); !errors.Is(err, api.ErrOutcomeUnknown) {
			t.Errorf("increment answered with %q: %v", body, err)
		}
		if _, err := c.MGet(t.Context(), "k"); !errors.Is(err, api.ErrUnavailable) {
			t.Errorf("read answered with %q: %v", body, err)
		}
	}
}
