package check

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

const log1 = `time=2026-01-02T15:04:05.000Z level=INFO msg="node is listening" node=node-1 http=127.0.0.1:1
time=2026-01-02T15:04:06.000Z level=INFO msg=serving partition=3 epoch=1
time=2026-01-02T15:04:06.000Z level=INFO msg=serving partition=4 epoch=1
panic: something else entirely
time=2026-01-02T15:04:07.000Z level=INFO msg="node is listening" node=node-1 http=127.0.0.1:1
time=2026-01-02T15:04:08.000Z level=INFO msg=serving partition=3 epoch=5
`

func TestEpochs(t *testing.T) {
	one, err := ReadTenures("node-1", strings.NewReader(log1))
	if err != nil || !slices.Equal(one, []Tenure{{"node-1", 1, 3, 1}, {"node-1", 1, 4, 1}, {"node-1", 2, 3, 5}}) {
		t.Fatalf("%+v, %v", one, err)
	}
	for _, tc := range []struct {
		name string
		more Tenure
		want int
	}{
		{"another epoch", Tenure{"node-2", 1, 3, 2}, 0},
		{"another partition", Tenure{"node-2", 1, 5, 1}, 0},
		{"told twice by one process", Tenure{"node-1", 1, 3, 1}, 0},
		{"another node", Tenure{"node-2", 1, 3, 1}, 1},
		{"the same node after a restart", Tenure{"node-1", 2, 3, 1}, 1},
	} {
		if found := Epochs(append(slices.Clone(one), tc.more)); len(found) != tc.want {
			t.Errorf("%s: %v", tc.name, found)
		}
	}
	if _, err := ReadTenures("node-1", strings.NewReader("level=INFO msg=serving partition=3\n")); err == nil {
		t.Error("a line without an epoch was read")
	}
}

func TestCrashes(t *testing.T) {
	const stops = `time=2026-01-02T15:04:06.000Z level=ERROR msg="the node stops: its disk cannot be trusted" err=x` + "\n"
	for log, want := range map[string]int{
		"": 0, stops: 1, stops + stops: 2, "panic: x\n\ngoroutine 1 [running]:\n": 1, "fatal error: x\n": 1,
		`level=INFO msg="panic: no"` + "\n": 0, "level=INFO msg=stopping\n": 0,
	} {
		if found, err := Crashes("node-1", strings.NewReader(log)); err != nil || len(found) != want {
			t.Errorf("%q: %v, %v", log, found, err)
		}
	}
}

// verifications are the answers of a cluster.
type verifications map[string]api.Verification

func (v verifications) Verify(_ context.Context, partition string) (api.Verification, error) {
	answer, ok := v[partition]
	if !ok {
		return answer, api.ErrUnavailable
	}
	return answer, nil
}

func TestCopies(t *testing.T) {
	right := api.VerifiedCopy{Node: "node-1", State: api.CopyOK, Items: 7, Digest: "aa"}
	for _, tc := range []struct {
		name   string
		change func(*api.VerifiedCopy)
		want   []Kind
	}{
		{"equal", func(*api.VerifiedCopy) {}, nil},
		{"another digest, called right", func(c *api.VerifiedCopy) { c.Digest = "ab" }, []Kind{Diverged}},
		{"more items, called right", func(c *api.VerifiedCopy) { c.Items++ }, []Kind{Diverged}},
		{"different", func(c *api.VerifiedCopy) { c.State = api.CopyDiffers }, []Kind{Diverged}},
		{"damaged", func(c *api.VerifiedCopy) { c.State = api.CopyDamaged }, []Kind{Corrupt}},
		{"out of reach", func(c *api.VerifiedCopy) { c.State = api.CopyNotReachable }, []Kind{Undecided}},
	} {
		other := right
		other.Node = "node-2"
		tc.change(&other)
		var kinds []Kind
		for _, f := range Copies(t.Context(), verifications{"partition-0": {Copies: []api.VerifiedCopy{right, other}}}, 1) {
			kinds = append(kinds, f.Kind)
		}
		if !slices.Equal(kinds, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, kinds, tc.want)
		}
	}
	found := Copies(t.Context(), verifications{"partition-0": {}}, 2)
	if len(found) != 2 || found[0].Kind != Undecided || found[1].Kind != Undecided {
		t.Errorf("no copies, and no answer: %v", found)
	}
}

func TestUnavailability(t *testing.T) {
	at := func(call, ret time.Duration, o target.Outcome, key string) history.Operation {
		op := get(1, call, ret, "")
		if op.Op.Key, op.Outcome = key, o; o == target.Unknown {
			op.Return = history.Forever
		}
		return op
	}
	group := func(key string) string { return key[:1] }
	window := []Window{{Name: "kill", From: 100, To: 200}}
	for _, tc := range []struct {
		name string
		ops  []history.Operation
		want Gap
	}{
		{"nothing", nil, Gap{}},
		{"idle is not unavailable", []history.Operation{at(90, 91, target.OK, "a"), at(190, 192, target.OK, "a")}, Gap{"a", 190, 192}},
		{"refused until it succeeds", []history.Operation{at(90, 91, target.OK, "a"), at(110, 111, target.Failed, "a"), at(190, 191, target.OK, "a")}, Gap{"a", 110, 191}},
		{"one that waits", []history.Operation{at(90, 150, target.OK, "a"), at(100, 101, target.OK, "a"), at(160, 161, target.OK, "a")}, Gap{"a", 101, 150}},
		{"of unknown outcome", []history.Operation{at(90, 91, target.OK, "a"), at(95, 0, target.Unknown, "a"), at(230, 240, target.OK, "a")}, Gap{"a", 95, 240}},
		{"another part goes on", []history.Operation{at(90, 0, target.Unknown, "a"), at(120, 121, target.OK, "b"), at(160, 161, target.OK, "a2")}, Gap{"a", 90, 161}},
		{"to the end", []history.Operation{at(90, 91, target.OK, "a"), at(110, 111, target.Failed, "a"), at(300, 301, target.Failed, "a")}, Gap{"a", 110, 301}},
		{"at another time", []history.Operation{at(10, 11, target.Failed, "a"), at(20, 21, target.OK, "a"), at(300, 301, target.Failed, "a"), at(310, 311, target.OK, "a")}, Gap{}},
	} {
		if got := Unavailability(tc.ops, group, window)[0]; got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}
