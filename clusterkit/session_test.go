package clusterkit

import (
	"context"
	"errors"
	"log/slog"
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
	n1, n2 := sessionRef{"n1", 1}, sessionRef{"n2", 1}
	table := newSessionTable()
	table.follow(m, 10*time.Second)
	table.renewed(n1, 12*time.Second, 5)
	for _, tt := range []struct {
		now  time.Duration
		want int
	}{{10 * time.Second, 0}, {11*time.Second - 1, 0}, {11 * time.Second, 2}, {13 * time.Second, 3}} {
		if got := table.expired(tt.now, time.Second); len(got) != tt.want {
			t.Errorf("expired at %s: %v, want %d", tt.now, got, tt.want)
		}
	}
	if got := table.nextExpiry(10500*time.Millisecond, time.Second); got != 500*time.Millisecond {
		t.Errorf("next expiry in %s", got)
	}
	table.postpone(time.Hour)
	if got := table.expired(13*time.Second, time.Second); len(got) != 0 {
		t.Errorf("expired although postponed: %v", got)
	}
	m = mustApply(t, m, endSessionCommand{Term: testTerm, Session: n2}, register("n1", "s1", 2))
	table.follow(m, time.Minute)
	if _, ok := table.granted[n1]; ok {
		t.Error("the session of an earlier incarnation is kept")
	}
	if _, ok := table.granted[n2]; ok {
		t.Error("an ended session is kept")
	}
	if got := table.granted[sessionRef{"n1", 2}]; got != time.Minute {
		t.Errorf("a new session counts from %s", got)
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
			f.ended, f.times = append(f.ended, c.Session), append(f.times, clock.Now())
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
		if f.knowsOthers(f.state.Map(), "n1") {
			t.Error("knows who is present before it has begun")
		}
		ctx, cancel := context.WithCancel(t.Context())
		go f.run(ctx)
		synctest.Wait()
		f.renewFor(t, 500*time.Millisecond, sessionRef{"n2", 1})
		if f.knowsOthers(f.state.Map(), "n1") {
			t.Error("n3 was not heard, and n1 must wait")
		}
		f.renewFor(t, time.Second, sessionRef{"n2", 1})
		if !f.knowsOthers(f.state.Map(), "n1") || f.state.Map().Node("n3").Alive {
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
		if _, err := applyTo(f.state, endSessionCommand{Term: testTerm, Session: sessionRef{"n1", first}}); err != nil {
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
