package partition

import "testing"

// BenchmarkCommit is one write on three replicas, from the proposal until the
// primary knows it committed, without disk and network.
func BenchmarkCommit(b *testing.B) {
	members := storyMembers("A", "B", "C")
	view := View{Epoch: 1, Version: 1, Primary: members[0], Members: members, InSync: members, MinInSync: 2}
	replicas := map[string]*Replica{}
	for _, m := range members {
		r, err := New(DefaultConfig(m.Node, m.Store), Recovered{})
		if err != nil {
			b.Fatal(err)
		}
		r.Configure(view)
		replicas[m.Node] = r
	}
	primary := replicas["A"]
	var mail []Message
	run := func() {
		for _, m := range members {
			r := replicas[m.Node]
			for out := r.Drain(); ; out = r.Drain() {
				mail = append(mail, out.Messages...)
				for _, to := range out.Ready {
					if next, _, ok := r.NextAppend(to); ok {
						mail = append(mail, next)
					}
				}
				if len(out.Writes) == 0 {
					break
				}
				r.Synced(out.Writes[len(out.Writes)-1].Seq)
			}
			r.Applied(r.Commit())
		}
	}
	settle := func() {
		for run(); len(mail) > 0; run() {
			batch := mail
			mail = nil
			for _, m := range batch {
				replicas[m.To.Node].Step(m)
			}
		}
	}
	settle()
	data := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		p, err := primary.Propose(data)
		if err != nil {
			b.Fatal(err)
		}
		settle()
		if primary.Commit() != p.LSN {
			b.Fatalf("committed through %d, want %d", primary.Commit(), p.LSN)
		}
	}
}
