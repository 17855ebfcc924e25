package partition

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// story is a cluster that a test drives by hand: nothing is delivered, put on
// disk or decided unless the test says so.
type story struct {
	t     testing.TB
	view  View
	nodes []*actor
	mail  []Message
	now   time.Duration
	// verdict is the outcome of comparisons; while it is undecided nobody
	// answers.
	verdict Verdict
}

// actor is one node: its disk, its replica, and what that has asked for.
type actor struct {
	name string
	r    *Replica

	// The disk: what has been fsynced, and what has only been written.
	disk     disk
	unsynced []Write
	applied  Position
	retained uint64 // the first LSN that the log still holds

	committed []Entry
	confirmed []Confirmed
	proposals []InSyncChange
	transfers []Transfer
	verify    []Verify
	refused   []Member
	snapshot  *Member
	fatal     error
}

type disk struct {
	state   State
	base    Position
	entries []Entry
}

func (d *disk) apply(w Write) {
	if w.HasReset {
		d.base, d.entries = w.Reset, nil
	}
	if w.HasState {
		d.state = w.State
	}
	for _, e := range w.Entries {
		d.entries = append(slices.Clip(d.entries[:e.LSN-1-d.base.LSN]), e)
	}
}

func storyMember(name string) Member {
	return Member{Node: name, Store: "disk-" + name, Incarnation: 1}
}

func storyMembers(names ...string) (members []Member) {
	for _, name := range names {
		members = append(members, storyMember(name))
	}
	return members
}

// newStory begins with A leading epoch 1, all in-sync, and nobody told yet.
func newStory(t testing.TB, names ...string) *story {
	s := &story{t: t, verdict: Equal, view: View{
		Epoch: 1, Version: 1, Primary: storyMember(names[0]),
		Members: storyMembers(names...), InSync: storyMembers(names...), MinInSync: 2,
	}}
	for _, name := range names {
		a := &actor{name: name, retained: 1}
		s.nodes = append(s.nodes, a)
		s.start(a)
	}
	return s
}

// serving is a story in which A serves epoch 1 and everyone knows.
func serving(t testing.TB, names ...string) *story {
	s := newStory(t, names...)
	s.tell(names...)
	s.settle()
	s.wantRole("A", Serving)
	return s
}

func (s *story) node(name string) *actor {
	i := slices.IndexFunc(s.nodes, func(a *actor) bool { return a.name == name })
	return s.nodes[i]
}

// start makes the replica from what is on disk; what was not fsynced is lost.
func (s *story) start(a *actor) {
	s.t.Helper()
	rec := Recovered{State: a.disk.state, Base: a.disk.base, Applied: a.applied}
	for _, e := range a.disk.entries {
		if rec.Positions = append(rec.Positions, e.Position()); e.LSN > a.applied.LSN {
			rec.Unapplied = append(rec.Unapplied, e)
		}
	}
	cfg := DefaultConfig(a.name, "disk-"+a.name)
	cfg.CatchUpLag = 2
	r, err := New(cfg, rec)
	if err != nil {
		s.t.Fatalf("%s does not start: %v", a.name, err)
	}
	*a = actor{name: a.name, r: r, disk: a.disk, applied: a.applied, retained: a.retained}
	a.r.Tick(s.now)
	s.drain(a)
}

// restart kills a node and starts it again.
func (s *story) restart(name string) {
	s.t.Helper()
	s.start(s.node(name))
}

// do runs f on a node's replica and takes down what comes out.
func (s *story) do(name string, f func(*Replica)) {
	a := s.node(name)
	f(a.r)
	s.drain(a)
}

func (s *story) drain(a *actor) {
	out := a.r.Drain()
	a.unsynced = append(a.unsynced, out.Writes...)
	s.mail = append(s.mail, out.Messages...)
	a.committed = append(a.committed, out.Committed...)
	a.confirmed = append(a.confirmed, out.Confirmed...)
	if out.InSync != nil {
		a.proposals = append(a.proposals, *out.InSync)
	}
	if out.Transfer != nil {
		a.transfers = append(a.transfers, *out.Transfer)
	}
	a.refused = append(a.refused, out.Refused...)
	a.verify = append(a.verify, out.Verify...)
	if out.Snapshot != nil {
		a.snapshot = out.Snapshot
	}
	if out.Fatal != nil {
		a.fatal = out.Fatal
	}
	for _, to := range out.Ready {
		s.pull(a, to)
	}
	if len(out.Verify) > 0 && s.verdict != Undecided {
		s.answer(a, s.verdict, out.Verify...)
	}
}

// answer gives a verdict on comparisons that a node has asked for.
func (s *story) answer(a *actor, verdict Verdict, asked ...Verify) {
	for _, v := range asked {
		a.r.Verified(v, verdict)
	}
	s.drain(a)
}

// pull posts everything that a has for a peer.
func (s *story) pull(a *actor, to Member) {
	for {
		m, load, ok := nextAppend(s.t, a.r, to)
		if !ok {
			return
		}
		if load {
			if m, ok = a.r.Loaded(m, a.read(m.Prev.LSN+1)); !ok {
				continue
			}
		}
		s.mail = append(s.mail, m)
	}
}

// nextAppend is NextAppend, which must ask to load exactly when MustLoad says so.
func nextAppend(t testing.TB, r *Replica, to Member) (m Message, load, ok bool) {
	t.Helper()
	want := r.MustLoad(to)
	if m, load, ok = r.NextAppend(to); load != want {
		t.Fatalf("MustLoad says %v, and NextAppend %v, %+v", want, load, m)
	}
	return m, load, ok
}

// read returns what the log holds from lsn on.
func (a *actor) read(lsn uint64) []Entry {
	d := a.disk
	d.entries = slices.Clone(d.entries)
	for _, w := range a.unsynced {
		d.apply(w)
	}
	if lsn < a.retained || lsn <= d.base.LSN {
		return nil
	}
	return d.entries[lsn-1-d.base.LSN:]
}

// tell gives the view to nodes.
func (s *story) tell(names ...string) {
	for _, name := range names {
		s.do(name, func(r *Replica) { r.Configure(s.view) })
	}
}

// decide changes the view; the nodes do not know it yet.
func (s *story) decide(change func(*View)) {
	v := s.view
	v.Members, v.InSync = slices.Clone(v.Members), slices.Clone(v.InSync)
	v.Version++
	change(&v)
	s.view = v
}

// elect opens the next epoch.
func (s *story) elect(name string) {
	s.decide(func(v *View) { v.Epoch, v.Primary = v.Epoch+1, s.node(name).member(v) })
}

func (a *actor) member(v *View) Member {
	i := slices.IndexFunc(v.Members, func(m Member) bool { return m.Node == a.name })
	return v.Members[i]
}

// accept makes a node's last proposal the view if it still applies.
func (s *story) accept(name string) {
	s.t.Helper()
	p := s.node(name).proposals
	if len(p) == 0 {
		s.t.Fatalf("%s has proposed nothing", name)
	}
	last := p[len(p)-1]
	if last.Epoch != s.view.Epoch || last.Version != s.view.Version {
		s.t.Fatalf("the proposal %+v comes too late for %+v", last, s.view)
	}
	s.decide(func(v *View) { v.InSync = last.InSync })
}

// sync puts on disk what nodes have written.
func (s *story) sync(names ...string) {
	for _, name := range names {
		a := s.node(name)
		if len(a.unsynced) == 0 {
			continue
		}
		for _, w := range a.unsynced {
			a.disk.apply(w)
		}
		seq := a.unsynced[len(a.unsynced)-1].Seq
		a.unsynced = nil
		s.do(name, func(r *Replica) { r.Synced(seq) })
	}
}

// deliver hands over the mail that is under way now to the nodes named, and
// leaves the rest. What they answer stays under way.
func (s *story) deliver(names ...string) {
	mail := s.mail
	s.mail = nil
	for _, m := range mail {
		if slices.Contains(names, m.To.Node) {
			s.do(m.To.Node, func(r *Replica) { r.Step(m) })
		} else {
			s.mail = append(s.mail, m)
		}
	}
}

// take removes the mail from the post and returns it.
func (s *story) take() []Message {
	mail := s.mail
	s.mail = nil
	return mail
}

// settle lets everything happen until nothing is left to do, but for nodes
// that are cut off: mail from and to them is lost.
func (s *story) settle(off ...string) {
	s.t.Helper()
	var on []string
	for _, a := range s.nodes {
		if !slices.Contains(off, a.name) {
			on = append(on, a.name)
		}
	}
	for range 1000 {
		s.mail = slices.DeleteFunc(s.mail, func(m Message) bool {
			return slices.Contains(off, m.From.Node) || slices.Contains(off, m.To.Node)
		})
		busy := len(s.mail) > 0
		for _, name := range on {
			busy = busy || len(s.node(name).unsynced) > 0
		}
		if !busy {
			return
		}
		s.sync(on...)
		s.deliver(on...)
	}
	s.t.Fatal("it does not come to rest")
}

// pass lets time go by in steps shorter than a heartbeat.
func (s *story) pass(d time.Duration, off ...string) {
	s.t.Helper()
	for end := s.now + d; s.now < end; {
		s.now += 50 * time.Millisecond
		for _, a := range s.nodes {
			s.do(a.name, func(r *Replica) { r.Tick(s.now) })
		}
		s.settle(off...)
	}
}

// propose appends data on a node that must take it.
func (s *story) propose(name, data string) {
	s.t.Helper()
	s.do(name, func(r *Replica) {
		if _, err := r.Propose([]byte(data)); err != nil {
			s.t.Fatalf("%s refuses %q: %v", name, data, err)
		}
	})
}

func (s *story) wantRole(name string, want Role) {
	s.t.Helper()
	if got, epoch := s.node(name).r.Role(); got != want {
		s.t.Fatalf("%s is %v of epoch %d, want %v", name, got, epoch, want)
	}
}

// wantCommitted wants exactly the writes given to be committed on a node,
// no-ops aside.
func (s *story) wantCommitted(name string, want ...string) {
	s.t.Helper()
	var got []string
	for _, e := range s.node(name).committed {
		if len(e.Data) > 0 {
			got = append(got, string(e.Data))
		}
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("%s has committed %q, want %q", name, got, want)
	}
}

// log returns a node's log as "epoch:data" of each entry above its base.
func (s *story) log(name string) (log []string) {
	a := s.node(name)
	d := a.disk
	d.entries = slices.Clone(d.entries)
	for _, w := range a.unsynced {
		d.apply(w)
	}
	for _, e := range d.entries {
		log = append(log, fmt.Sprintf("%d:%s", e.Epoch, e.Data))
	}
	return log
}

func (s *story) wantLog(name string, want ...string) {
	s.t.Helper()
	if got := s.log(name); !slices.Equal(got, want) {
		s.t.Fatalf("%s has the log %q, want %q", name, got, want)
	}
}

// answers returns the answers of a status that are under way from a node.
func (s *story) answers(from string, status Status) (found []Message) {
	for _, m := range s.mail {
		if m.From.Node == from && m.Status == status && (m.Kind == AppendReply || m.Kind == ConfirmReply) {
			found = append(found, m)
		}
	}
	return found
}
