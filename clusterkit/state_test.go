package clusterkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

const testTerm = 7

// foundedMap returns the map of a new cluster.
func foundedMap(partitions, replicas int) *Map {
	config, err := Config{PartitionCount: partitions, ReplicationFactor: replicas}.withDefaults()
	if err != nil {
		panic(err)
	}
	m, _ := bootstrapCommand{ClusterUUID: "cluster", Config: config}.apply(nil, testTerm)
	return m
}

// mustApply applies commands that have to succeed.
func mustApply(t testing.TB, m *Map, commands ...command) *Map {
	t.Helper()
	for _, c := range commands {
		next, verdict := c.apply(m, testTerm)
		if err := verdict.err(); err != nil {
			t.Fatalf("%T %+v: %v", c, c, err)
		}
		m = next
	}
	return m
}

func register(id, store string, incarnation uint64) registerCommand {
	return registerCommand{Node: Node{ID: id, Name: id, Store: store, RaftID: serverID(id, store), Incarnation: incarnation, RaftAddr: id + ":1", IP: id + ":2"}}
}

// TestNobodyElectsAStoppingNode stops n1 and n2 at the same time.
func TestNobodyElectsAStoppingNode(t *testing.T) {
	m := mustApply(t, clusterOf(t), prepareStopCommand{Session: sessionRef{"n1", 1}}, prepareStopCommand{Session: sessionRef{"n2", 1}})
	if _, verdict := (prepareStopCommand{Session: sessionRef{"n3", 7}}).apply(m, testTerm); !errors.Is(verdict.err(), ErrStale) {
		t.Errorf("a session that is not open: %v", verdict.err())
	}
	if p := m.Partitions[0]; p.Primary != "n1" {
		t.Errorf("the primary changed to %s before the session ended", p.Primary)
	}
	stopped := mustApply(t, m, endSessionCommand{Sessions: []sessionRef{{"n1", 1}}})
	if p := stopped.Partitions[0]; p.Primary != "n3" || stopped.Node("n1").Stopping {
		t.Errorf("%s was elected; n1: %+v", p.Primary, stopped.Node("n1"))
	}
	last := mustApply(t, stopped, endSessionCommand{Sessions: []sessionRef{{"n3", 1}}})
	if p := last.Partitions[0]; p.Primary != "n2" {
		t.Errorf("with nobody else left %q was elected, not n2", p.Primary)
	}
	if m = mustApply(t, m, register("n1", "s1", 2)); m.Node("n1").Stopping {
		t.Error("a node that has started again is said to stop")
	}
}

// clusterOf returns a map with one partition on n1, n2 and n3 in sync, n1 being
// the primary.
func clusterOf(t testing.TB) *Map {
	t.Helper()
	return mustApply(t, foundedMap(1, 3),
		register("n1", "s1", 1), register("n2", "s2", 1), register("n3", "s3", 1),
		desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1", "n2", "n3"}}}},
	)
}

func TestFailoverTakesAPresentInSyncCopyInANewEpoch(t *testing.T) {
	m := clusterOf(t)
	before := m.Partitions[0]
	m = mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}})
	after := m.Partitions[0]
	if after.Primary != "n2" || after.Epoch != before.Epoch+1 || after.Version <= before.Version {
		t.Fatalf("after the primary was lost: %+v", after)
	}
	if len(after.InSync) != 3 {
		t.Fatalf("an application that replicates by itself decides the in-sync set, got %+v", after.InSync)
	}
	m = mustApply(t, m,
		endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n2", 1}}},
		endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n3", 1}}})
	waiting := m.Partitions[0]
	if waiting.Primary != "n3" || m.Node("n3").Alive {
		t.Fatalf("with nobody left the partition waits under its last primary, got %+v", waiting)
	}
	m = mustApply(t, m, register("n2", "s2", 2))
	if p := m.Partitions[0]; p.Primary != "n2" || p.Epoch != waiting.Epoch+1 {
		t.Fatalf("any present in-sync copy takes over, got %+v", p)
	}
}

func TestRestartNeedsANewEpoch(t *testing.T) {
	m := clusterOf(t)
	epoch := m.Partitions[0].Epoch
	m = mustApply(t, m, register("n1", "s1", 2))
	if p := m.Partitions[0]; p.Epoch != epoch+1 || p.Primary != "n1" {
		t.Fatalf("after a quick restart of the primary: %+v", p)
	}
}

func TestLateRegistrationEndsNoSession(t *testing.T) {
	m := mustApply(t, clusterOf(t), register("n1", "s1", 2))
	for _, incarnation := range []uint64{1, 2} {
		next, verdict := register("n1", "s1", incarnation).apply(m, testTerm)
		if next != m {
			t.Errorf("incarnation %d changed the map", incarnation)
		}
		if verdict.Incarnation != 2 {
			t.Errorf("incarnation %d was answered with %d, want 2", incarnation, verdict.Incarnation)
		}
	}
	if _, verdict := register("n1", "other", 3).apply(m, testTerm); verdict.Code != codeConflict {
		t.Errorf("another store of a live node was answered with %q", verdict.Code)
	}
}

func TestLostStoreLeavesEverySet(t *testing.T) {
	m := mustApply(t, clusterOf(t), endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}}, register("n1", "new", 2))
	p := m.Partitions[0]
	if _, ok := p.MemberOf("n1"); ok || len(p.InSync) != 2 || p.Primary != "n2" {
		t.Fatalf("after n1 came back with an empty disk: %+v", p)
	}
}

func TestLastCopyOnALostDisk(t *testing.T) {
	m := mustApply(t, foundedMap(1, 1), register("n1", "s1", 1),
		desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1"}}}},
		endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}}, register("n1", "new", 2))
	p := m.Partitions[0]
	if p.Primary != "" || len(p.InSync) != 1 || p.InSync[0].Store != "s1" {
		t.Fatalf("an empty disk must not become the primary: %+v", p)
	}
	m = mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 2}}}, register("n1", "s1", 3))
	if got := m.Partitions[0]; got.Primary != "n1" || got.Epoch <= p.Epoch {
		t.Fatalf("after the disk was found again: %+v", got)
	}
}

func TestTransferFallsBackToAnyCopy(t *testing.T) {
	m := mustApply(t, clusterOf(t), endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n3", 1}}})
	epoch := m.Partitions[0].Epoch
	req := transferCommand{TransferRequest{Partition: 0, Epoch: epoch, From: "n1", To: "n3"}}
	next := mustApply(t, m, req)
	if p := next.Partitions[0]; p.Primary == "n3" || p.Primary == "" || p.Epoch != epoch+1 {
		t.Fatalf("transfer to a dead node: %+v", p)
	}
	if again, verdict := req.apply(next, testTerm); again != next || verdict.Code != codeStale {
		t.Fatalf("repeated transfer: %+v", verdict)
	}
	to := transferCommand{TransferRequest{Partition: 0, Epoch: epoch, From: "n1", To: "n2"}}
	if p := mustApply(t, m, to).Partitions[0]; p.Primary != "n2" {
		t.Fatalf("transfer to n2: %+v", p)
	}
}

func TestInSyncChanges(t *testing.T) {
	m := clusterOf(t)
	p := m.Partitions[0]
	shrunk := mustApply(t, m, inSyncCommand{InSyncChange: InSyncChange{Epoch: p.Epoch, Version: p.Version, InSync: p.InSync[:2]}})
	now := shrunk.Partitions[0]
	change := func(proposer string, epoch, version uint64, set ...Member) inSyncCommand {
		return inSyncCommand{InSyncChange: InSyncChange{Epoch: epoch, Version: version, InSync: set}, Proposer: proposer}
	}
	stranger := Member{Node: "n3", Store: "s3", Incarnation: 99}
	tests := []struct {
		name   string
		change inSyncCommand
		want   code
	}{
		{"the primary adds a member", change("n1", now.Epoch, now.Version, p.InSync...), codeOK},
		{"another node cannot add", change("n2", now.Epoch, now.Version, p.InSync...), codeStale},
		{"without a proposer nothing is added", change("", now.Epoch, now.Version, p.InSync...), codeStale},
		{"anyone removes", change("", now.Epoch, now.Version, now.InSync[0]), codeOK},
		{"older version", change("n1", now.Epoch, now.Version-1, now.InSync[0]), codeStale},
		{"older epoch", change("n1", now.Epoch-1, now.Version, now.InSync[0]), codeStale},
		{"empty", change("n1", now.Epoch, now.Version), codeStale},
		{"without the primary", change("n1", now.Epoch, now.Version, now.InSync[1]), codeStale},
		{"another incarnation", change("n1", now.Epoch, now.Version, now.InSync[0], stranger), codeStale},
		{"twice the same", change("n1", now.Epoch, now.Version, now.InSync[0], now.InSync[0]), codeStale},
		{"no such partition", inSyncCommand{InSyncChange: InSyncChange{Partition: 9}}, codeStale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, verdict := tt.change.apply(shrunk, testTerm)
			if verdict.Code != tt.want {
				t.Fatalf("got %q (%s), want %q", verdict.Code, verdict.Message, tt.want)
			}
			if changed := next != shrunk; changed != (tt.want == codeOK) {
				t.Fatalf("changed is %v", changed)
			}
		})
	}
}

func TestDroppedCopiesAreCopiedAnew(t *testing.T) {
	m := clusterOf(t)
	before, _ := m.Partitions[0].MemberOf("n2")
	m = mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n2", 1}}, DropCopies: true})
	p := m.Partitions[0]
	after, _ := p.MemberOf("n2")
	if p.IsInSync(after) || after.Incarnation == before.Incarnation {
		t.Fatalf("n2 died: %+v", p)
	}
	m = mustApply(t, m, register("n2", "s2", 2))
	if _, verdict := (acknowledgeCommand{Member: before}).apply(m, testTerm); verdict.Code != codeStale {
		t.Fatalf("an acknowledgement from before the death was answered with %q", verdict.Code)
	}
	m = mustApply(t, m, acknowledgeCommand{Member: after})
	if !m.Partitions[0].IsInSync(after) {
		t.Fatalf("after the acknowledgement: %+v", m.Partitions[0])
	}
}

func TestDamagedCopiesAreCopiedAnew(t *testing.T) {
	m := clusterOf(t)
	p := m.Partitions[0] // on n1, n2 and n3, n1 being the primary
	damaged := func(m *Map, node string) copyAnewCommand {
		p := m.Partitions[0]
		c, _ := p.MemberOf(node)
		return copyAnewCommand{CopyAnewRequest{Epoch: p.Epoch, Member: c}}
	}
	before, _ := p.MemberOf("n2")
	req := damaged(m, "n2")
	m = mustApply(t, m, req)
	after, ok := m.Partitions[0].MemberOf("n2")
	if !ok || after.Incarnation == before.Incarnation || len(m.Partitions[0].InSync) != 2 || m.Partitions[0].IsInSync(after) || m.Partitions[0].Epoch != p.Epoch {
		t.Fatalf("the copy of n2 is damaged: %+v", m.Partitions[0])
	}
	if next, verdict := req.apply(m, testTerm); next != m || verdict.Code != codeStale {
		t.Errorf("a repeated request: %+v", verdict)
	}
	m = mustApply(t, m, damaged(m, "n1"))
	if p := m.Partitions[0]; p.Primary != "n3" || p.Epoch != req.Epoch+1 || len(p.InSync) != 1 {
		t.Fatalf("the copy of the primary is damaged: %+v", p)
	}
	old := damaged(m, "n1")
	old.Epoch--
	for name, c := range map[string]copyAnewCommand{"the last complete copy": damaged(m, "n3"), "an older epoch": old} {
		if next, verdict := c.apply(m, testTerm); next != m || verdict.Code != codeStale {
			t.Errorf("%s: %+v", name, verdict)
		}
	}
	mustApply(t, m, damaged(m, "n2")) // a learner, too
}

func TestDecisionsOfAnEarlierTermAreRefused(t *testing.T) {
	m := clusterOf(t)
	late := uint64(testTerm - 1)
	for _, c := range []command{
		renewCommand{Term: late, Sessions: []sessionRef{{"n1", 1}}},
		endSessionCommand{Term: late, Sessions: []sessionRef{{"n1", 1}}},
		desireCommand{Term: late, Desired: []desire{{Nodes: []string{"n2"}}}},
		movesCommand{Term: late, Steps: []move{{Epoch: 1, Version: 1, Release: m.Partitions[0].Members[2]}}},
	} {
		if next, verdict := c.apply(m, testTerm); next != m || verdict.Code == codeOK {
			t.Errorf("%T: verdict %+v, changed %v", c, verdict, next != m)
		}
	}
}

// TestInvariants applies random commands, most of them based on a map that is
// some steps old, and holds every new map against what may never happen.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := foundedMap(3, 3)
		history := []*Map{m}
		gone := make(map[string]bool)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			base := history[max(0, len(history)-1-rapid.IntRange(0, 3).Draw(t, "age"))]
			c := drawCommand(t, base)
			encoded, err := encodeCommand(c)
			if err != nil {
				t.Fatal(err)
			}
			if c, err = decodeCommand(encoded); err != nil {
				t.Fatal(err)
			}
			before := mustJSON(m)
			next, _ := c.apply(m, testTerm)
			if string(mustJSON(m)) != string(before) {
				t.Fatalf("%T %+v wrote to the map that it was applied to", c, c)
			}
			checkStep(t, c, m, next, gone)
			again, _ := c.apply(next, testTerm)
			if string(mustJSON(again)) != string(mustJSON(next)) {
				t.Fatalf("%T %+v repeated changed the map again:\n%s\n%s", c, c, mustJSON(next), mustJSON(again))
			}
			m = next
			history = append(history, m)
		}
	})
}

func drawCommand(t *rapid.T, m *Map) command {
	id := rapid.SampledFrom([]string{"n1", "n2", "n3", "n4"}).Draw(t, "node")
	incarnation := uint64(rapid.IntRange(1, 12).Draw(t, "incarnation"))
	if n := m.Node(id); n != nil && rapid.Bool().Draw(t, "current") {
		incarnation = n.Incarnation
	}
	drop := rapid.Bool().Draw(t, "drop")
	p := &m.Partitions[rapid.IntRange(0, len(m.Partitions)-1).Draw(t, "partition")]
	pick := func(from []Member) []Member {
		var out []Member
		for _, c := range from {
			if rapid.Bool().Draw(t, "in") {
				out = append(out, c)
			}
		}
		return out
	}
	switch rapid.IntRange(0, 15).Draw(t, "command") {
	case 0, 1:
		c := register(id, fmt.Sprintf("%s-disk-%d", id, rapid.IntRange(1, 2).Draw(t, "disk")), incarnation)
		c.DropCopies = drop
		if id == "n3" || id == "n4" { // whose application keeps its data in memory
			c = volatile(c, fmt.Sprintf("run-%d", rapid.IntRange(1, 3).Draw(t, "run")))
		}
		return c
	case 2:
		return endSessionCommand{Term: testTerm, Sessions: []sessionRef{{id, incarnation}}, DropCopies: drop}
	case 3:
		return inSyncCommand{InSyncChange{p.Index, p.Epoch, p.Version, pick(p.Members)}, p.Primary}
	case 4:
		return transferCommand{TransferRequest{p.Index, p.Epoch, p.Primary, id}}
	case 5:
		nodes := rapid.Permutation([]string{"n1", "n2", "n3", "n4"}).Draw(t, "desired")
		return desireCommand{Term: testTerm, Desired: []desire{{p.Index, nodes[:rapid.IntRange(1, 3).Draw(t, "copies")]}}}
	case 6:
		step := move{Partition: p.Index, Epoch: p.Epoch, Version: p.Version}
		if released := pick(p.Members); len(released) > 0 {
			step.Release = released[0]
		} else {
			step.Learner = id
		}
		return movesCommand{Term: testTerm, Steps: []move{step}}
	case 7:
		if steps := nextMoves(m); len(steps) > 0 {
			return movesCommand{Term: testTerm, Steps: steps}
		}
		return renewCommand{Term: testTerm, Sessions: []sessionRef{{id, incarnation}}}
	case 8:
		return drainCommand{Node: id, Drain: drop}
	case 9:
		return weightCommand{Node: id, Weight: rapid.IntRange(0, 3).Draw(t, "weight")}
	case 10:
		return removeCommand{Node: id}
	case 11:
		return forceCommand{Partition: p.Index, Epoch: p.Epoch, Node: id}
	case 12:
		if drop {
			return pauseCommand{Paused: rapid.Bool().Draw(t, "paused")}
		}
		return cancelCommand{Partitions: []int{p.Index}}
	case 13:
		return replicationCommand{ReplicationFactor: rapid.IntRange(1, 4).Draw(t, "factor")}
	case 14:
		if damaged := pick(p.Members); len(damaged) > 0 {
			return copyAnewCommand{CopyAnewRequest{p.Index, p.Epoch, damaged[0]}}
		}
		return pauseCommand{}
	default:
		var c Member
		if len(p.Members) > 0 {
			c = rapid.SampledFrom(p.Members).Draw(t, "member")
		}
		return acknowledgeCommand{Partition: p.Index, Member: c}
	}
}

// checkStep holds what the command made of the map against the invariants. gone
// has the copies that were released or lost.
func checkStep(t *rapid.T, c command, prev, next *Map, gone map[string]bool) {
	if next != prev && next.Version != prev.Version+1 {
		t.Fatalf("map version went from %d to %d", prev.Version, next.Version)
	}
	if !slices.IsSortedFunc(next.Nodes, func(a, b Node) int { return strings.Compare(a.ID, b.ID) }) {
		t.Fatalf("nodes are not sorted: %+v", next.Nodes)
	}
	for _, n := range prev.Nodes {
		now := next.Node(n.ID)
		if now == nil && !slices.Contains(next.Removed, RemovedNode{n.ID, n.RaftID, n.Incarnation}) {
			t.Fatalf("%s vanished", n.ID)
		}
		if now != nil && now.Incarnation < n.Incarnation {
			t.Fatalf("incarnation of %s went back", n.ID)
		}
	}
	for i := range next.Partitions {
		was, is := &prev.Partitions[i], &next.Partitions[i]
		checkPartition(t, was, is)
		checkSurvivor(t, c, prev, was, is)
		for _, c := range is.Members {
			if gone[fmt.Sprint(i, c)] {
				t.Fatalf("copy %+v of %s came back", c, is.ID)
			}
		}
		for _, c := range was.Members {
			if !is.IsMember(c) {
				gone[fmt.Sprint(i, c)] = true
			}
		}
		if n := next.Node(is.Primary); is.Primary != "" && n == nil {
			t.Fatalf("%s has a primary that is no node: %+v", is.ID, is)
		} else if is.Epoch > was.Epoch && is.Primary != "" && !n.Alive {
			t.Fatalf("%s elected the dead %s", is.ID, is.Primary)
		}
	}
}

func checkPartition(t *rapid.T, was, is *Partition) {
	changed := !slices.Equal(was.Members, is.Members) || !slices.Equal(was.InSync, is.InSync) || was.Epoch != is.Epoch
	primaryInSync := slices.ContainsFunc(is.InSync, func(c Member) bool { return c.Node == is.Primary })
	switch {
	case is.Epoch < was.Epoch || is.Version < was.Version:
		t.Fatalf("%s went back: %+v, then %+v", is.ID, was, is)
	case changed && is.Version == was.Version:
		t.Fatalf("%s changed without a new version: %+v, then %+v", is.ID, was, is)
	case was.Began != is.Began && (was.assigned() && is.Epoch == was.Epoch || is.Began != is.Version || slices.ContainsFunc(is.Members, was.IsMember)):
		t.Fatalf("%s began with copies of before: %+v, then %+v", is.ID, was, is)
	case was.Primary != is.Primary && is.Epoch == was.Epoch:
		t.Fatalf("%s changed its primary within an epoch: %+v, then %+v", is.ID, was, is)
	case was.assigned() && len(is.InSync) == 0:
		t.Fatalf("%s has lost its last in-sync copy: %+v", is.ID, is)
	case is.Primary != "" && !primaryInSync:
		t.Fatalf("the primary of %s is not in sync: %+v", is.ID, is)
	}
	for i, c := range is.InSync {
		if !is.IsMember(c) || slices.Contains(is.InSync[:i], c) {
			t.Fatalf("in-sync set of %s: %+v", is.ID, is)
		}
	}
}

// checkSurvivor holds that a complete copy stays in sync, except where an
// operator gave the data up, where all copies were in memory that is gone, and
// where a copy that has just become complete takes over from copies that are
// away.
func checkSurvivor(t *rapid.T, c command, prev *Map, was, is *Partition) {
	onDisk := func(c Member) bool { return !strings.HasPrefix(c.Store, volatilePrefix) }
	beganAnew := is.Began > was.Began && !slices.ContainsFunc(was.InSync, onDisk)
	copied, acknowledged := c.(acknowledgeCommand)
	tookOver := acknowledged && copied.Partition == is.Index && is.IsInSync(copied.Member) && !slices.ContainsFunc(was.InSync, prev.Present)
	if was.assigned() && !beganAnew && !tookOver && is.Forced == was.Forced && !slices.ContainsFunc(is.InSync, was.IsInSync) {
		t.Fatalf("%s kept no copy that was in sync: %+v, then %+v", is.ID, was, is)
	}
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func TestSnapshotRestores(t *testing.T) {
	m := clusterOf(t)
	source := &fsm{}
	source.current.Store(m)
	snapshot, err := source.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	store := raft.NewInmemSnapshotStore()
	sink, err := store.Create(raft.SnapshotVersionMax, 1, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Persist(sink); err != nil {
		t.Fatal(err)
	}
	snapshot.Release()
	_, content, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	var published *Map
	target := &fsm{published: func(_, next *Map) { published = next }}
	if err := target.Restore(content); err != nil {
		t.Fatal(err)
	}
	if string(mustJSON(target.Map())) != string(mustJSON(m)) || published != target.Map() {
		t.Errorf("restored %s, want %s", mustJSON(target.Map()), mustJSON(m))
	}
	if err := target.Restore(io.NopCloser(strings.NewReader(`{"format":2}`))); err == nil {
		t.Error("a snapshot of another format was restored")
	}
}

// TestAPowerCutLeavesNoPartitionToANodeThatIsGone lets three nodes lose their
// power in an application that does not replicate by itself; n3 never returns.
func TestAPowerCutLeavesNoPartitionToANodeThatIsGone(t *testing.T) {
	m := clusterOf(t)
	var silent []sessionRef
	for _, n := range m.Nodes {
		silent = append(silent, sessionRef{n.ID, n.Incarnation})
	}
	m = mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: silent, DropCopies: true})
	if p := m.Partitions[0]; len(p.InSync) != 3 || p.Epoch != 1 {
		t.Fatalf("nodes that are gone took over from one another: %+v", p)
	}
	back := func(id, store string) registerCommand {
		c := register(id, store, 2)
		c.DropCopies = true
		return c
	}
	m = mustApply(t, m, back("n2", "s2"))
	p := m.Partitions[0]
	if p.Primary != "n2" || len(p.InSync) != 1 || len(p.Members) != 3 {
		t.Fatalf("after the return of n2: %+v", p)
	}
	m = mustApply(t, m, back("n1", "s1"))
	p = m.Partitions[0]
	if c := mustMember(t, &p, "n1"); p.Primary != "n2" || p.IsInSync(c) {
		t.Fatalf("n1 missed what n2 wrote: %+v", p)
	}
	if p := mustApply(t, m, acknowledgeCommand{Member: mustMember(t, &p, "n1")}).Partitions[0]; len(p.InSync) != 2 {
		t.Fatalf("after n1 has copied: %+v", p)
	}
}

// TestACompletedCopyTakesOver completes a copy when all the others are gone.
func TestACompletedCopyTakesOver(t *testing.T) {
	_, alone, learner := withLearner(t)
	lost := sessionRef{"n1", 1}
	for name, tt := range map[string]struct {
		completed command
		inSync    int
	}{
		"without replication": {acknowledgeCommand{Partition: 0, Member: mustMember(t, &learner.Partitions[0], "n2")}, 1},
		"managed": {inSyncCommand{Proposer: "n1", InSyncChange: InSyncChange{
			Partition: 0, Epoch: learner.Partitions[0].Epoch, Version: learner.Partitions[0].Version, InSync: learner.Partitions[0].Members,
		}}, 2},
	} {
		m := mustApply(t, learner, endSessionCommand{Term: testTerm, Sessions: []sessionRef{lost}})
		if p := m.Partitions[0]; p.Primary != "n1" || p.Epoch != alone.Partitions[0].Epoch {
			t.Fatalf("nobody could take over: %+v", p)
		}
		if p := mustApply(t, m, tt.completed).Partitions[0]; p.Primary != "n2" || p.Epoch != alone.Partitions[0].Epoch+1 || len(p.InSync) != tt.inSync {
			t.Errorf("%s: n2 has everything, and n1 is away: %+v", name, p)
		}
	}
}
