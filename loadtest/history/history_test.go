package history

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRoundTrip(t *testing.T) {
	ops := []Operation{
		{Client: 1, Call: 1, Return: 2, Op: target.Op{Kind: target.Get, Key: "k"}, Result: target.Result{Found: true, Value: []byte("\xff\x00<>\u2028"), Version: "1.2"}},
		{Client: 2, Call: 3, Return: 4, Op: target.Op{Kind: target.Get, Key: "\xfe"}, Result: target.Result{}},
		{Client: 2, Call: 3, Return: 4, Op: target.Op{Kind: target.Set, Key: "k", Value: []byte{}}, Result: target.Result{Version: "\xff"}, Final: true},
		{Client: 3, Call: 5, Return: Forever, Outcome: target.Unknown, Op: target.Op{Kind: target.Increment, Key: "k", Delta: math.MinInt64}, Err: "no answer"},
		{Client: 3, Call: 6, Return: 9, Outcome: target.Failed, Op: target.Op{Kind: target.CompareAndSet, Key: "k", Value: []byte("v"), Version: "1.2"}, Expect: []byte("u"), Err: "refused"},
		{Client: 4, Call: 7, Return: 7, Op: target.Op{Kind: target.Batch, Ops: []target.Op{{Kind: target.Append, Key: "{t}a", Value: []byte("x")}, {Kind: target.Get, Key: "{t}b"}}},
			Result: target.Result{Results: []target.Result{{Number: 1}, {Found: true, Value: []byte{}}}}},
		{Client: 5, Call: 8, Return: 9, Op: target.Op{Kind: target.Create, Key: "k", Value: []byte("w")}, Result: target.Result{Met: true}},
	}
	path := filepath.Join(t.TempDir(), "history.jsonl")
	if err := WriteFile(path, ops); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, ops) {
		t.Errorf("read\n%+v\nwrote\n%+v", got, ops)
	}
}

func TestReadRefuses(t *testing.T) {
	const good = `{"client":1,"call":1,"return":2,"outcome":"ok","op":{"kind":"get","key":"k"},"result":{}}` + "\n"
	for name, text := range map[string]string{
		"what is no JSON":            "nonsense\n",
		"an unknown field":           `{"cleint":1,"end":0}` + "\n",
		"an unknown outcome":         strings.Replace(good, `"ok"`, `"fine"`, 1) + `{"end":1}`,
		"no operation":               `{"client":1,"outcome":"failed"}` + "\n" + `{"end":1}`,
		"no result":                  strings.Replace(good, `,"result":{}`, "", 1) + `{"end":1}`,
		"a return before the call":   strings.Replace(good, `"return":2`, `"return":0`, 1) + `{"end":1}`,
		"too few results of a batch": `{"client":1,"call":1,"return":2,"outcome":"ok","op":{"kind":"batch","ops":[{"kind":"get"}]},"result":{}}` + "\n" + `{"end":1}`,
		"something behind the end":   `{"end":0}` + "\n" + good,
	} {
		if ops, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read: %+v", name, ops)
		}
	}
	for name, text := range map[string]string{"nothing": "", "no end": good, "one too few": good + `{"end":2}`, "one too many": good + good + `{"end":1}`} {
		if _, err := Read(strings.NewReader(text)); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ops, err := Read(strings.NewReader(good + `{"end":1}`)); err != nil || len(ops) != 1 {
		t.Errorf("%v, %v", ops, err)
	}
}

// Whatever is read is written and read again as the same.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"client":1,"call":1,"return":2,"outcome":"ok","op":{"kind":"get","key":"k"},"result":{"value":{"base64":"/w=="}}}` + "\n" + `{"end":1}`))
	f.Add([]byte(`{"client":1,"call":1,"outcome":"unknown","op":{"kind":"compare-and-set","key":"k","version":"1.2","value":""},"expect":"x","error":"e"}` + "\n" + `{"end":1}`))
	f.Add([]byte(`{"client":1,"call":0,"return":3,"outcome":"failed","op":{"kind":"batch","ops":[{"kind":"increment","delta":-1}]}}` + "\n" + `{"end":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		ops, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		r := NewRecorder(&out)
		for i := range ops {
			r.Add(&ops[i])
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Read(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatalf("%v\n%s", err, out.Bytes())
		}
		out.Reset()
		r = NewRecorder(&out)
		for i := range again {
			r.Add(&again[i])
		}
		if len(again) != len(ops) {
			t.Fatalf("%d operations, then %d", len(ops), len(again))
		}
		for i := range ops {
			a, errA := encode(&ops[i])
			b, errB := encode(&again[i])
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("%s\n%s", a, b)
			}
		}
	})
}

func TestRecorderFails(t *testing.T) {
	r := NewRecorder(full{})
	for i := range 100_000 {
		r.Add(&Operation{Client: i, Op: target.Op{Kind: target.Get, Key: "k"}})
	}
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

var errFull = errors.New("no space")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestConcurrentRecording(t *testing.T) {
	var out bytes.Buffer
	r := NewRecorder(&out)
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			id := r.NewClient()
			for i := range 500 {
				call := r.Now()
				r.Add(&Operation{Client: id, Call: call, Return: r.Now(), Outcome: target.Outcome(i % 2), Op: target.Op{Kind: target.Get, Key: "k"}})
			}
		})
	}
	clients.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	ops, err := Read(&out)
	if err != nil || len(ops) != 2000 || r.Count(target.OK) != 1000 || r.Count(target.Failed) != 1000 {
		t.Fatalf("%d operations, %v", len(ops), err)
	}
	last := map[int]time.Duration{}
	for _, o := range ops {
		if before, ok := last[o.Client]; ok && o.Call < before {
			t.Fatalf("client %d called at %v, before its answer of %v", o.Client, o.Call, before)
		}
		last[o.Client] = o.Return
	}
	if len(last) != 4 {
		t.Errorf("%d clients", len(last))
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder(discard{})
	o := Operation{Client: 12, Call: time.Second, Return: 2 * time.Second, Op: target.Op{Kind: target.Set, Key: "run/register/12", Value: []byte("12.345")}, Result: target.Result{Version: "3.14159"}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Add(&o)
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
