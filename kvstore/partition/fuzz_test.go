package partition

import "testing"

// FuzzStep gives a primary and a follower messages that decode, of whatever
// content. They may be believed, as far as a peer is; they must not panic.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 0, 9, 9, 9, 9, 9, 9, 9, 9, 1})
	f.Add([]byte{1, 2, 0, 1, 0, 0, 0, 255, 0, 0, 0, 0})
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 255, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 255, 0, 0, 1, 0})
	f.Add([]byte{1, 2, 2, 1, 1, 1, 0, 0, 0, 254, 0, 0})
	const size = 12
	f.Fuzz(func(t *testing.T, script []byte) {
		s := serving(t, "A", "B", "C")
		for range 3 {
			s.do("A", func(r *Replica) { _, _ = r.Propose([]byte("data")) })
		}
		s.settle()
		for ; len(script) >= size; script = script[size:] {
			to, m := anyMessage(script[:size])
			s.mail = nil
			s.do(to, func(r *Replica) {
				r.Step(m)
				for _, peer := range []string{"A", "B", "C"} {
					if m, load, ok := nextAppend(t, r, storyMember(peer)); ok && load {
						r.Loaded(m, nil)
					}
				}
				r.Synced(r.lastSeq)
				if m.Round%2 == 1 {
					r.Applied(r.Commit())
					r.Retained(r.Commit() + 1)
				}
				s.now += r.cfg.Heartbeat
				r.Tick(s.now)
			})
		}
	})
}

// anyMessage makes a message of 12 bytes: those near 255 stand for numbers at
// the end of what a frame can carry.
func anyMessage(b []byte) (to string, m Message) {
	number := func(i int) uint64 {
		if b[i] > 250 {
			return 1<<62 - uint64(255-b[i])
		}
		return uint64(b[i])
	}
	from := "B"
	if to = "A"; b[0]%2 == 1 {
		from, to = "A", "B"
	}
	m = Message{
		Kind: Append + Kind(b[1])%Behind, Status: Status(b[2]) % (NotMember + 1),
		From: storyMember(from), To: storyMember(to),
		Epoch: number(3), Prev: Position{number(4), number(5)},
		Commit: number(6), Durable: number(7), Hint: Position{number(8), number(9)}, Round: number(10),
	}
	if m.Kind == Append && m.Prev.Epoch <= m.Epoch {
		for i := range uint64(b[11] % 4) {
			m.Entries = append(m.Entries, Entry{Epoch: m.Epoch, LSN: m.Prev.LSN + 1 + i, Data: []byte("other")})
		}
	}
	return to, m
}
