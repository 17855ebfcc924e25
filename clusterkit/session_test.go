package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// fakeClock reads the time of a synctest bubble.
type fakeClock struct{ start time.Time }

func (c fakeClock) Now() time.Duration { return time.Since(c.start) }

var quiet = slog.New(slog.DiscardHandler)

// TestLeaseInequality lets two clocks run at the worst rates that are allowed
// and any delays in between: the node's lease is over before the leader may
// depose it.
func TestLeaseInequality(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lease := time.Duration(rapid.Int64Range(int64(minLeaseDuration), int64(time.Minute)).Draw(t, "lease"))
		nodeRate := rapid.Float64Range(0.99, 1.01).Draw(t, "node's rate")
		leaderRate := rapid.Float64Range(0.99, 1.01).Draw(t, "leader's rate")
		delay := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "delay"))
		// In true time: the node asks at 0, the leader notes the grant after
		// the delay.
		leaseEnds := time.Duration(float64(lease) / nodeRate)
		deposed := delay + time.Duration(float64(deposeAfter(lease))/leaderRate)
		if deposed <= leaseEnds {
			t.Fatalf("deposed at %s, the lease lasts until %s", deposed, leaseEnds)
		}
	})
}

func TestSessionTable(t *testing.T) {
	m := clusterOf(t)
	n1, n2, n3 := sessionRef{"n1", 1}, sessionRef{"n2", 1}, sessionRef{"n3", 1}
	wait := deposeAfter(DefaultLeaseDuration)
	table := newSessionTable(testTerm, m, 10*time.Second, true)
	ended := func(now time.Duration) []sessionRef {
		c, due := table.ending(m, now)
		if due && (c.Term != testTerm || !c.DropCopies) {
			t.Errorf("%+v is not of this leader", c)
		}
		return c.Sessions
	}
	renew := func(s sessionRef, now time.Duration) renewResponse {
		requests := []renewRequest{{Session: s, Applied: 5}}
		_, verdict := table.renewal(requests).apply(m, testTerm)
		return table.renewed(requests, verdict, nil, m, now)[0]
	}
	if resp := renew(n1, 10*time.Second+wait/2); !resp.Open || resp.Lease != DefaultLeaseDuration {
		t.Errorf("n1 was not renewed: %+v", resp)
	}
	for _, tt := range []struct {
		now  time.Duration
		want []sessionRef
	}{
		{10*time.Second + wait/2, nil},
		{10*time.Second + wait - 1, nil},
		{10*time.Second + wait, []sessionRef{n2, n3}},
		{10*time.Second + wait*3/2, []sessionRef{n1, n2, n3}},
	} {
		if got := ended(tt.now); !slices.Equal(got, tt.want) {
			t.Errorf("ended at %s: %v, want %v", tt.now, got, tt.want)
		}
	}
	if got, due := newSessionTable(testTerm, m, 10*time.Second, true).ending(m, 10*time.Second+10*wait); due {
		t.Errorf("the leader stood still, and ended %v", got.Sessions)
	}
	m = mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{n2}}, register("n1", "s1", 2))
	if resp := renew(n1, time.Minute); resp.Open {
		t.Error("the session of an earlier incarnation was renewed")
	}
	if resp := renew(n2, time.Minute); resp.Open {
		t.Error("an ended session was renewed")
	}
	want := map[sessionRef]time.Duration{{"n1", 2}: time.Minute, n3: table.granted[n3]}
	if !maps.Equal(table.granted, want) {
		t.Errorf("the table has %v, want %v", table.granted, want)
	}
}

// TestANodeThatReturnsWaitsForNewsOfTheOthers: what was heard before it asked
// says nothing about who has gone together with it.
func TestANodeThatReturnsWaitsForNewsOfTheOthers(t *testing.T) {
	m := clusterOf(t)
	table := newSessionTable(testTerm, m, 10*time.Second, true)
	again := Node{ID: "n1", Store: "s1", Incarnation: 2}
	knows := func(now time.Duration, want bool, when string) {
		t.Helper()
		if got := table.knowsOthers(m, again, now); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	hear := func(now time.Duration, nodes ...string) {
		var requests []renewRequest
		for _, id := range nodes {
			requests = append(requests, renewRequest{Session: sessionRef{id, 1}})
		}
		_, verdict := table.renewal(requests).apply(m, testTerm)
		table.renewed(requests, verdict, nil, m, now)
	}
	hear(10200*time.Millisecond, "n2", "n3")
	knows(10300*time.Millisecond, false, "heard before it asked")
	hear(10400*time.Millisecond, "n2")
	knows(10450*time.Millisecond, false, "one heard since")
	hear(10500*time.Millisecond, "n3")
	knows(10550*time.Millisecond, true, "both heard since")
	m = lose(m, t, "n1")
	again.Incarnation = 3
	knows(10600*time.Millisecond, true, "its return ends no session")
	if c := (&controller{state: &fsm{}}); c.knowsOthers(again) {
		t.Error("a leader without a map knows who is present")
	}
}

func TestTheLeaderLooksWhenASessionCanExpire(t *testing.T) {
	table := newSessionTable(testTerm, clusterOf(t), 10*time.Second, false)
	for _, tt := range []struct{ now, want time.Duration }{
		{10 * time.Second, table.wait / 8},
		{10*time.Second + table.wait - 3*time.Millisecond, 3 * time.Millisecond},
		{time.Minute, 0},
	} {
		if got := table.look(tt.now); got != tt.want {
			t.Errorf("at %s it looks in %s, want %s", tt.now, got, tt.want)
		}
	}
}

func TestTenure(t *testing.T) {
	unknown := fmt.Errorf("%w: broken connection", ErrUnknown)
	tenure := newTenure("n1", 4)
	register := func(verdict result, err error, open bool, incarnation uint64) {
		t.Helper()
		tenure.registered(verdict, err)
		if tenure.open != open || tenure.session != (sessionRef{"n1", incarnation}) {
			t.Errorf("open is %v, session %v; want %v and %d", tenure.open, tenure.session, open, incarnation)
		}
	}
	register(result{}, unknown, false, 5)
	register(result{}, ErrNoLeader, false, 5)
	register(result{Incarnation: 8}, errStaleIncarnation, false, 9)
	register(result{Incarnation: 2}, errStaleIncarnation, false, 10)
	register(result{Incarnation: 10}, nil, true, 10)
	tenure.renewed(time.Minute, renewResponse{Open: true, Lease: time.Second})
	if want := (lease{sessionRef{"n1", 10}, time.Minute + time.Second}); tenure.lease != want || !tenure.open {
		t.Errorf("lease %+v, want %+v", tenure.lease, want)
	}
	tenure.renewed(2*time.Minute, renewResponse{Lease: time.Second})
	if tenure.open || tenure.session.Incarnation != 11 || tenure.lease.until != time.Minute+time.Second {
		t.Errorf("after the session was ended: %+v", tenure)
	}
}

func TestLeaseCountsInItsSessionOnly(t *testing.T) {
	m := clusterOf(t)
	for name, tt := range map[string]struct {
		lease lease
		m     *Map
		now   time.Duration
		want  bool
	}{
		"holds":           {lease{sessionRef{"n1", 1}, time.Second}, m, time.Second - 1, true},
		"has run out":     {lease{sessionRef{"n1", 1}, time.Second}, m, time.Second, false},
		"later session":   {lease{sessionRef{"n1", 2}, time.Second}, m, 0, false},
		"earlier session": {lease{sessionRef{"n1", 0}, time.Second}, m, 0, false},
		"ended":           {lease{sessionRef{"n1", 1}, time.Second}, lose(m, t, "n1"), 0, false},
		"never granted":   {lease{}, m, 0, false},
		"no map":          {lease{sessionRef{"n1", 1}, time.Second}, nil, 0, false},
	} {
		if got := tt.lease.holdsIn(tt.m, tt.now); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDueTransfer(t *testing.T) {
	m := clusterOf(t)
	p := &m.Partitions[0]
	if _, due := dueTransfer(m, p, "n1"); due {
		t.Error("the wanted primary hands over")
	}
	m = mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n2", "n1", "n3"}}}})
	p = &m.Partitions[0]
	want := TransferRequest{Partition: 0, Epoch: p.Epoch, From: "n1", To: "n2"}
	if req, due := dueTransfer(m, p, "n1"); !due || req != want {
		t.Errorf("due is %v, %+v; want %+v", due, req, want)
	}
	if _, due := dueTransfer(m, p, "n3"); due {
		t.Error("another than the primary hands over")
	}
	gone := lose(m, t, "n2")
	if _, due := dueTransfer(gone, &gone.Partitions[0], "n1"); due {
		t.Error("handed over to a node that is away")
	}
	ended := endedEpochs(nil).with(0, p.Epoch).with(0, p.Epoch-1)
	if next := *p; !ended.has(p) || endedEpochs(nil).has(p) {
		t.Error("the epoch that was given up is not ended, or one that was not is")
	} else if next.Epoch++; ended.has(&next) {
		t.Error("the next epoch is ended")
	}
}

// keeperFixture is a keeper over a state machine without Raft.
type keeperFixture struct {
	*keeper
	ended []sessionRef
	times []time.Duration
	// granted has the last grant of each session.
	granted map[sessionRef]time.Duration
}

func newKeeperFixture(t *testing.T) *keeperFixture {
	f := &keeperFixture{granted: make(map[sessionRef]time.Duration)}
	state := &fsm{published: func(*Map, *Map) {}}
	state.current.Store(clusterOf(t))
	clock := fakeClock{time.Now()}
	f.keeper = &keeper{term: testTerm, clock: clock, state: state, log: quiet, renewals: make(chan renewal), done: make(chan struct{})}
	f.apply = func(_ context.Context, c command) (result, error) {
		if c, ok := c.(endSessionCommand); ok {
			f.ended, f.times = append(f.ended, c.Sessions...), append(f.times, clock.Now())
		}
		return applyTo(state, c)
	}
	return f
}

func applyTo(state *fsm, c command) (result, error) {
	data, err := encodeCommand(c)
	if err != nil {
		return result{}, err
	}
	verdict := state.Apply(&raft.Log{Term: testTerm, Data: data}).(result)
	return verdict, verdict.err()
}

// renewFor renews the sessions every quarter of a second.
func (f *keeperFixture) renewFor(t *testing.T, d time.Duration, sessions ...sessionRef) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		for _, s := range sessions {
			resp, err := f.renew(t.Context(), renewRequest{Session: s, Applied: 3})
			if err != nil || !resp.Open || resp.Lease != DefaultLeaseDuration {
				t.Fatalf("renewal of %v: %+v, %v", s, resp, err)
			}
			f.granted[s] = f.clock.Now()
		}
	}
}

func TestKeeperEndsOnlySilentSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newKeeperFixture(t)
		ctx, cancel := context.WithCancel(t.Context())
		go f.run(ctx)
		n1, n2, n3 := sessionRef{"n1", 1}, sessionRef{"n2", 1}, sessionRef{"n3", 1}
		f.renewFor(t, 5*time.Second, n1, n2, n3)
		f.renewFor(t, 5*time.Second, n1, n2)
		if !slices.Equal(f.ended, []sessionRef{n3}) {
			t.Fatalf("ended %v, want only n3", f.ended)
		}
		lastGrant, wait := f.granted[n3], deposeAfter(DefaultLeaseDuration)
		if at := f.times[0]; at < lastGrant+wait || at > lastGrant+wait+wait/8 {
			t.Errorf("ended at %s, the last grant was at %s and W is %s", at, lastGrant, wait)
		}
		if got := f.appliedIndex(n1); got != 3 {
			t.Errorf("applied index of n1 is %d", got)
		}
		resp, err := f.renew(t.Context(), renewRequest{Session: n3})
		if err != nil || resp.Open {
			t.Errorf("an ended session was renewed: %+v, %v", resp, err)
		}
		cancel()
		<-f.done
		if _, err := f.renew(t.Context(), renewRequest{Session: n1}); !errors.Is(err, ErrNoLeader) {
			t.Errorf("renewal after the term: %v", err)
		}
	})
}

func TestKeeperKnowsWhoIsPresentWhenItHasHeardAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newKeeperFixture(t)
		f.dropCopies = true
		if f.knowsOthers(f.state.Map(), Node{ID: "n1", Incarnation: 2}) {
			t.Error("knows who is present before it has begun")
		}
		ctx, cancel := context.WithCancel(t.Context())
		go f.run(ctx)
		synctest.Wait()
		f.renewFor(t, 500*time.Millisecond, sessionRef{"n2", 1})
		if f.knowsOthers(f.state.Map(), Node{ID: "n1", Incarnation: 2}) {
			t.Error("n3 was not heard, and n1 must wait")
		}
		f.renewFor(t, time.Second, sessionRef{"n2", 1})
		if !f.knowsOthers(f.state.Map(), Node{ID: "n1", Incarnation: 2}) || f.state.Map().Node("n3").Alive {
			t.Error("n3 has been given up, and n1 need not wait")
		}
		if p := f.state.Map().Partitions[0]; len(p.InSync) != 1 || p.InSync[0].Node != "n2" {
			t.Errorf("only n2 is left: %+v", p)
		}
		cancel()
		<-f.done
	})
}

func TestKeeperThatStoodStillEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newKeeperFixture(t)
		var stalls atomic.Bool
		apply := f.apply
		f.apply = func(ctx context.Context, c command) (result, error) {
			if stalls.Swap(false) {
				time.Sleep(10 * time.Second)
			}
			return apply(ctx, c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.run(ctx)
		sessions := []sessionRef{{"n1", 1}, {"n2", 1}, {"n3", 1}}
		f.renewFor(t, time.Second, sessions...)
		stalls.Store(true)
		f.renewFor(t, 12*time.Second, sessions...)
		if len(f.ended) != 0 {
			t.Fatalf("ended %v", f.ended)
		}
		cancel()
		<-f.done
	})
}

// sessionFixture is a session whose leader is a state machine without Raft.
type sessionFixture struct {
	*session
	state   *fsm
	refused chan error
}

func newSessionFixture(t *testing.T) *sessionFixture {
	dir, err := openDataDir(t.TempDir(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.close() })
	f := &sessionFixture{state: &fsm{published: func(*Map, *Map) {}}, refused: make(chan error, 1)}
	f.state.current.Store(foundedMap(1, 3))
	f.session = &session{
		self:  func() Node { return Node{ID: "n1", Store: dir.identity().Store, RaftAddr: "n1:1"} },
		dir:   dir,
		state: f.state,
		clock: fakeClock{time.Now()},
		log:   quiet,
		propose: func(_ context.Context, c command) (result, error) {
			return applyTo(f.state, c)
		},
		renew: func(_ context.Context, req renewRequest) (renewResponse, error) {
			return renewResponse{Open: req.Session.openIn(f.state.Map()), Lease: DefaultLeaseDuration, Again: DefaultLeaseDuration / renewalsPerLease}, nil
		},
		applied:  func() uint64 { return 1 },
		awaitMap: func(context.Context) {},
		changed:  func() {},
	}
	return f
}

func (f *sessionFixture) holds() bool { return f.holdsIn(f.state.Map()) }

func (f *sessionFixture) start(t *testing.T) {
	f.session.start(t.Context(), func(err error) { f.refused <- err })
	synctest.Wait()
}

func TestSessionHoldsItsLeaseOnlyWhileRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSessionFixture(t)
		if f.holds() {
			t.Error("holds a lease before the start")
		}
		f.start(t)
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			if !f.holds() {
				t.Fatal("lost the lease although it was renewed")
			}
		}
		renew := f.renew
		var silent atomic.Bool
		silent.Store(true)
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
		f.renew = func(ctx context.Context, req renewRequest) (renewResponse, error) {
			if silent.Load() {
				return renewResponse{}, ErrNoLeader
			}
			return renew(ctx, req)
		}
		f.start(t)
		time.Sleep(DefaultLeaseDuration)
		if f.holds() {
			t.Error("holds a lease that was not renewed")
		}
		silent.Store(false)
		time.Sleep(DefaultLeaseDuration)
		if !f.holds() {
			t.Error("did not get a lease again")
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
		if f.holds() {
			t.Error("holds a lease after the stop")
		}
	})
}

func TestASlowRenewalCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSessionFixture(t)
		renew := f.renew
		f.renew = func(ctx context.Context, req renewRequest) (renewResponse, error) {
			sleep(ctx, DefaultLeaseDuration*8/10)
			if err := ctx.Err(); err != nil {
				return renewResponse{}, err
			}
			return renew(ctx, req)
		}
		f.start(t)
		time.Sleep(DefaultLeaseDuration * 9 / 10)
		if !f.holds() {
			t.Error("a renewal was given up before its lease had run out")
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLeaseWaitsForTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSessionFixture(t)
		behind := f.state.Map()
		leader := &fsm{published: func(*Map, *Map) {}}
		leader.current.Store(behind)
		f.propose = func(_ context.Context, c command) (result, error) { return applyTo(leader, c) }
		f.renew = func(_ context.Context, req renewRequest) (renewResponse, error) {
			return renewResponse{Open: req.Session.openIn(leader.Map()), Lease: DefaultLeaseDuration, Again: DefaultLeaseDuration / renewalsPerLease}, nil
		}
		f.start(t)
		if f.lease.Load() == nil || f.holds() {
			t.Fatal("a lease must not count before the map shows its session")
		}
		f.state.current.Store(leader.Map())
		if !f.holds() {
			t.Fatal("the lease does not count although the map shows its session")
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestEndedSessionIsFollowedByANewIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSessionFixture(t)
		f.start(t)
		first := f.incarnation.Load()
		if _, err := applyTo(f.state, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", first}}}); err != nil {
			t.Fatal(err)
		}
		if f.holds() {
			t.Error("holds the lease of an ended session")
		}
		time.Sleep(DefaultLeaseDuration)
		if got := f.incarnation.Load(); got != first+1 || !f.holds() {
			t.Errorf("incarnation %d, lease %v; want %d and true", got, f.holds(), first+1)
		}
		if got := f.dir.identity().Incarnation; got != first+1 {
			t.Errorf("incarnation %d is on disk", got)
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSessionSurvivesALostCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSessionFixture(t)
		old := f.self()
		old.Incarnation = 41
		if _, err := applyTo(f.state, registerCommand{Node: old}); err != nil {
			t.Fatal(err)
		}
		f.start(t)
		if got := f.incarnation.Load(); got != 42 || !f.holds() {
			t.Errorf("incarnation %d, lease %v; want 42 and true", got, f.holds())
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSessionGivesUpAnIDThatIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSessionFixture(t)
		if _, err := applyTo(f.state, register("n1", "another disk", 1)); err != nil {
			t.Fatal(err)
		}
		f.start(t)
		select {
		case err := <-f.refused:
			t.Fatalf("gave up at once: %v", err)
		default:
		}
		time.Sleep(2 * conflictGrace(DefaultLeaseDuration))
		if err := <-f.refused; !errors.Is(err, ErrJoinRefused) {
			t.Errorf("got %v", err)
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestBeatsMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(int64(minLeaseDuration/renewalsPerLease), int64(time.Minute)).Draw(t, "interval"))
		now := time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "now"))
		next := nextBeat(now, interval)
		if (now+next)%interval != 0 || next < interval/2 || next >= interval/2+interval {
			t.Fatalf("at %s, with an interval of %s, again in %s", now, interval, next)
		}
	})
}

func BenchmarkHoldsLease(b *testing.B) {
	state := &fsm{}
	state.current.Store(clusterOf(b))
	s := &session{state: state, clock: systemClock{}}
	s.lease.Store(&lease{session: sessionRef{"n2", 1}, until: s.clock.Now() + time.Hour})
	ck := &ClusterKit{state: state, session: s}
	b.ReportAllocs()
	for b.Loop() {
		if !ck.HoldsLease() {
			b.Fatal("no lease")
		}
	}
}
