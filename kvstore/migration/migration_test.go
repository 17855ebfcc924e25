package migration

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestPhases(t *testing.T) {
	copying := Facts{Needed: true, Slot: true, Limit: 2, Source: "a", Primary: "a"}
	with := func(change func(*Facts)) Facts {
		f := copying
		change(&f)
		return f
	}
	for name, tc := range map[string]struct {
		facts   Facts
		phase   Phase
		waiting string
	}{
		"in sync":                   {Facts{InSync: true, Needed: true, Paused: true}, InSync, ""},
		"the log suffices":          {Facts{Primary: "a"}, CatchingUp, ""},
		"nobody leads":              {Facts{}, CatchingUp, "no primary"},
		"the log is full":           {Facts{Primary: "a", Unwritten: "no space"}, CatchingUp, "no space"},
		"compared":                  {Facts{Primary: "a", Comparing: true}, Comparing, ""},
		"pauses do not stop a log":  {Facts{Primary: "a", Paused: true}, CatchingUp, ""},
		"copying":                   {copying, Copying, ""},
		"copying without a primary": {with(func(f *Facts) { f.Primary = "" }), Copying, ""},
		"paused":                    {with(func(f *Facts) { f.Paused = true; f.Stalled = "cut" }), Waiting, "paused"},
		"cut":                       {with(func(f *Facts) { f.Stalled = "a does not answer" }), Copying, "a does not answer"},
		"the disk is full":          {with(func(f *Facts) { f.Unwritten = "no space" }), Copying, "no space"},
		"cut, and full":             {with(func(f *Facts) { f.Stalled, f.Unwritten = "a does not answer", "no space" }), Copying, "no space"},
		"full, and paused":          {with(func(f *Facts) { f.Unwritten, f.Paused = "no space", true }), Waiting, "paused"},
		"silent":                    {with(func(f *Facts) { f.Silent = 4900 * time.Millisecond }), Copying, "a has sent nothing for 4s"},
		"hardly silent":             {with(func(f *Facts) { f.Silent = time.Second }), Copying, ""},
		"between attempts":          {with(func(f *Facts) { f.Slot = false; f.Stalled = "damaged" }), Waiting, "damaged"},
		"no slot":                   {with(func(f *Facts) { f.Slot = false; f.Ahead = 3 }), Waiting, "2 copies at a time, 3 are before"},
		"the source is busy":        {with(func(f *Facts) { f.Busy = true; f.Slot = false }), Waiting, "source a gives"},
	} {
		t.Run(name, func(t *testing.T) {
			phase, waiting := tc.facts.Phase()
			if phase != tc.phase || (waiting == "") != (tc.waiting == "") || !strings.Contains(waiting, tc.waiting) {
				t.Errorf("%q because %q, want %q because %q", phase, waiting, tc.phase, tc.waiting)
			}
		})
	}
}

func TestAdmission(t *testing.T) {
	plain, urgent, paused := Request{}, Request{Urgent: true}, Request{Paused: true}
	for _, tc := range []struct {
		requests     []Request
		limit, taken int
		want         []int
	}{
		{nil, 2, 0, nil},
		{[]Request{plain, plain, plain}, 2, 0, []int{0, 1}},
		{[]Request{plain, plain, plain}, 2, 1, []int{0}},
		{[]Request{plain}, 2, 2, nil},
		{[]Request{plain}, 1, 3, nil}, // the limit was lowered
		{[]Request{paused, plain}, 1, 0, []int{1}},
		{[]Request{plain, plain, urgent}, 2, 0, []int{2, 0}},
		{[]Request{plain, urgent, urgent}, 1, 1, []int{1, 2}},
		{[]Request{{Paused: true, Urgent: true}}, 1, 1, []int{0}},
	} {
		if got := Admit(tc.requests, tc.limit, tc.taken); !slices.Equal(got, tc.want) {
			t.Errorf("of %+v, with %d of %d slots taken, %v are admitted, want %v", tc.requests, tc.taken, tc.limit, got, tc.want)
		}
	}
}

func TestProgress(t *testing.T) {
	for _, tc := range []struct {
		p     Progress
		rate  float64
		total uint64
		eta   time.Duration
	}{
		{Progress{}, 100, 0, 0},
		{Progress{TotalItems: 10}, 100, 0, 0},
		{Progress{Items: 5, TotalItems: 10, Bytes: 500}, 100, 1000, 5 * time.Second},
		{Progress{Items: 5, TotalItems: 10, Bytes: 500}, 0, 1000, 0},
		{Progress{Items: 10, TotalItems: 10, Bytes: 1234}, 100, 1234, 0},
		{Progress{Items: 11, TotalItems: 10, Bytes: 1100}, 100, 1100, 0},
		{Progress{Items: 1, TotalItems: 1 << 62, Bytes: 1 << 40}, 1, math.MaxUint64, 0},
	} {
		eta, ok := tc.p.ETA(tc.rate)
		if got := tc.p.Total(); got != tc.total && tc.total != math.MaxUint64 {
			t.Errorf("%+v has a total of %d, want %d", tc.p, got, tc.total)
		}
		if eta.Round(time.Millisecond) != tc.eta || ok && tc.total == 0 {
			t.Errorf("%+v at %v: %v, %v, want %v", tc.p, tc.rate, eta, ok, tc.eta)
		}
	}
}

func TestMeterFollowsTheRate(t *testing.T) {
	var m Meter
	at, sent := time.Duration(0), uint64(0)
	for _, rate := range []uint64{1 << 20, 4 << 20, 0} {
		for range 200 {
			m = m.Observe(at, sent)
			at += 100 * time.Millisecond
			sent += rate / 10
		}
		if got := m.Rate(); math.Abs(got-float64(rate)) > float64(1<<20)/50 {
			t.Errorf("the rate is %v after 20 s at %d", got, rate)
		}
	}
	if m = m.Observe(at, 0); m.Rate() != 0 {
		t.Errorf("a meter that begins anew shows %v", m.Rate())
	}
}

func TestThrottlesThatCannotBe(t *testing.T) {
	for body, complaint := range map[string]string{
		`{}`:                         "",
		`{"bytes_per_second":0}`:     "",
		`{"bytes_per_second":65536}`: "",
		`{"bytes_per_second":1048576,"copies":3,"p99_multiple":2.5}`: "",
		`{"p99_multiple":0}`:         "",
		`{"bytes_per_second":-1}`:    "bytes_per_second is -1: give",
		`{"bytes_per_second":65535}`: "bytes_per_second is 65535: give",
		`{"copies":0}`:               "copies is 0: give 1",
		`{"copies":65}`:              "copies is 65: give 1",
		`{"p99_multiple":1}`:         "p99_multiple is 1: give",
		`{"p99_multiple":-3}`:        "p99_multiple is -3: give",
		`{"bytes_per_secnd":1}`:      "bytes_per_secnd",
		`{"copies":"many"}`:          "copies",
		`[]`:                         "give {",
		`{} {}`:                      "more than one",
		``:                           "give {",
	} {
		_, err := Decode([]byte(body))
		if complaint == "" && err != nil || complaint != "" && (err == nil || !strings.Contains(err.Error(), complaint)) {
			t.Errorf("%s: %v, want %q", body, err, complaint)
		}
	}
}

func TestOverridesChangeWhatTheyName(t *testing.T) {
	rate, copies, multiple := int64(1<<20), 5, 0.0
	s := Defaults().Override(api.Throttle{BytesPerSecond: &rate})
	if want := (Settings{rate, DefaultCopies, DefaultP99Multiple}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	merged := Merge(api.Throttle{BytesPerSecond: &rate}, api.Throttle{Copies: &copies, P99Multiple: &multiple})
	if want := (Settings{rate, copies, 0}); s.Override(merged) != want {
		t.Errorf("%+v, want %+v", s.Override(merged), want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"bytes_per_second":1048576,"copies":3,"p99_multiple":2.5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := Decode(b); err == nil && Check(got) != nil {
			t.Errorf("%s is taken and refused", b)
		}
	})
}

func TestBucketsAreWithinAQuarter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(8*time.Second)).Draw(t, "d"))
		i := Bucket(d)
		if end := bucketEnd(i); end <= d || float64(end) > 1.26*float64(d)+float64(time.Microsecond)+1 {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, i, end)
		}
		if i > 0 && bucketEnd(i-1) > d.Truncate(time.Microsecond)+time.Microsecond {
			t.Fatalf("%v is in bucket %d, and bucket %d ends at %v", d, i, i-1, bucketEnd(i-1))
		}
	})
	if got := Bucket(time.Hour); got != len(Requests{})-1 {
		t.Errorf("an hour is in bucket %d", got)
	}
}

func TestP99(t *testing.T) {
	var r Requests
	for range 99 {
		r[Bucket(time.Millisecond)]++
	}
	if _, ok := r.P99(); ok {
		t.Error("99 requests have a P99")
	}
	r[Bucket(time.Second)]++
	if got, ok := r.P99(); !ok || got < time.Millisecond || got > 1300*time.Microsecond {
		t.Errorf("one slow request of a hundred: %v, %v", got, ok)
	}
	before := r
	for range 2 {
		r[Bucket(time.Second)]++
	}
	if got, ok := r.P99(); !ok || got < time.Second {
		t.Errorf("three slow requests: %v, %v", got, ok)
	}
	if got := r.Since(before); got[Bucket(time.Second)] != 2 || got[Bucket(time.Millisecond)] != 0 {
		t.Errorf("what was added is %v", got)
	}
}

func TestBaselineForgetsWhatIsUnusual(t *testing.T) {
	var b Baseline
	if b.P99() != 0 {
		t.Error("a baseline is known from nothing")
	}
	for i := range 2 * baselineWindows {
		p99 := time.Millisecond
		if i%3 == 0 {
			p99 = time.Second
		}
		if b = b.Observe(p99); i > 0 && b.P99() != time.Millisecond {
			t.Fatalf("%v after %d windows", b.P99(), i+1)
		}
	}
	for range baselineWindows/2 + 1 {
		b = b.Observe(time.Second)
	}
	if b.P99() != time.Second {
		t.Error("it does not follow a change that stays")
	}
}

// The rate falls while requests are slow, and rises again; it never leaves its
// bounds, and so a copy always comes to an end.
func TestAdaption(t *testing.T) {
	s := Settings{BytesPerSecond: 32 << 20, P99Multiple: 3}
	rate := s.Adapt(0, 0, 0)
	if rate != 32<<20 {
		t.Errorf("it begins with %v", rate)
	}
	for range 3 {
		rate = s.Adapt(rate, 31*time.Millisecond, 10*time.Millisecond)
	}
	if rate > 8<<20 {
		t.Errorf("%v after three seconds of slow requests", rate)
	}
	for range 100 {
		rate = s.Adapt(rate, time.Second, 10*time.Millisecond)
	}
	if rate != 1<<20 {
		t.Errorf("%v after a hundred, want %d", rate, 1<<20)
	}
	for range 30 {
		rate = s.Adapt(rate, 29*time.Millisecond, 10*time.Millisecond)
	}
	if rate != 32<<20 {
		t.Errorf("%v after half a minute of fast requests", rate)
	}
	// Without a bound copies make way as far as those with the usual one, and soon.
	s.BytesPerSecond = 0
	rate = s.Adapt(0, 0, 0)
	for range 12 {
		rate = s.Adapt(rate, time.Second, 10*time.Millisecond)
	}
	if rate != 1<<20 {
		t.Errorf("without a bound %v after twelve seconds of slow requests, want %d", rate, 1<<20)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Settings{
			BytesPerSecond: rapid.SampledFrom([]int64{0, MinBytesPerSecond, 1 << 20, 1 << 40}).Draw(t, "bound"),
			P99Multiple:    rapid.SampledFrom([]float64{0, 1.1, 4}).Draw(t, "multiple"),
		}
		rate := s.Adapt(
			rapid.Float64Range(-1, 1<<41).Draw(t, "rate"),
			time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "p99")),
			time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "baseline")),
		)
		if !(rate >= MinBytesPerSecond) || s.BytesPerSecond > 0 && rate > float64(s.BytesPerSecond) {
			t.Fatalf("%+v leads to %v", s, rate)
		}
	})
}

func TestBurstsAndChunks(t *testing.T) {
	for _, rate := range []float64{1, MinBytesPerSecond, 1 << 20, 1 << 30, math.Inf(1)} {
		if b := Burst(rate); b < 1 || float64(b) > max(rate/20, 1) || b > 64<<10 {
			t.Errorf("at %v, %d bytes may go at once", rate, b)
		}
		if c := ChunkBytes(rate); c < 64<<10 || c > 1<<20 {
			t.Errorf("at %v, chunks have %d bytes", rate, c)
		}
	}
}
