package wal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the log as one would like it to be: every record ever appended, in
// order, and how many of them are acknowledged.
type model struct {
	records []Record
	acked   int
	applied map[uint32]uint64
}

// modelPartition is what a partition holds after some of the records.
type modelPartition struct {
	state   string
	base    Position
	entries []Position
	data    []string
}

func (p *modelPartition) last() Position {
	if len(p.entries) == 0 {
		return p.base
	}
	return p.entries[len(p.entries)-1]
}

func replay(records []Record) map[uint32]*modelPartition {
	all := map[uint32]*modelPartition{}
	for _, r := range records {
		p := all[r.Partition]
		if p == nil {
			p = &modelPartition{}
			all[r.Partition] = p
		}
		switch r.Kind {
		case KindEntry:
			keep := r.LSN - p.base.LSN - 1
			p.entries = append(p.entries[:keep:keep], r.position())
			p.data = append(p.data[:keep:keep], string(r.Data))
		case KindState:
			p.state = string(r.Data)
		case KindReset:
			*p = modelPartition{state: p.state, base: r.position()}
		}
	}
	return all
}

// differs returns how the log differs from the model after records, or "". A
// log may have dropped entries that are applied.
func (m *model) differs(l *Log, found *Recovery, records []Record) string {
	all := replay(records)
	for id := range found.Partitions {
		if all[id] == nil {
			return fmt.Sprintf("partition %d is not expected", id)
		}
	}
	for id, want := range all {
		got := found.Partitions[id]
		if string(got.State) != want.state || got.Last != want.last() || got.Base.LSN < want.base.LSN {
			return fmt.Sprintf("partition %d recovered as %+v, want %+v", id, got, want)
		}
		if got.Base.LSN > max(want.base.LSN, m.applied[id]) {
			return fmt.Sprintf("partition %d begins above %d, applied is %d", id, got.Base.LSN, m.applied[id])
		}
		for i, pos := range want.entries {
			if pos.LSN == got.Base.LSN && pos != got.Base {
				return fmt.Sprintf("partition %d has base %v, want %v", id, got.Base, pos)
			}
			if pos.LSN <= got.Base.LSN {
				continue
			}
			entries, err := l.Read(id, pos.LSN, 0)
			if err != nil || len(entries) == 0 {
				return fmt.Sprintf("Read(%d, %d) = %v, %v", id, pos.LSN, entries, err)
			}
			if e := entries[0]; (Position{e.Epoch, e.LSN}) != pos || string(e.Data) != want.data[i] {
				return fmt.Sprintf("partition %d has %+v at %v", id, e, pos)
			}
		}
	}
	return ""
}

func TestLogAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := Options{Dir: "log", FS: newMemFS(), SegmentBytes: 4 << 10, RetainBytes: 8 << 10}
		m := &model{applied: map[uint32]uint64{}}
		l, _, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		acks := make(chan error, 10000)

		drawRecord := func(t *rapid.T, now map[uint32]*modelPartition) Record {
			id := rapid.Uint32Range(1, 3).Draw(t, "partition")
			p := now[id]
			if p == nil {
				p = &modelPartition{}
			}
			epoch := rapid.Uint64Range(1, 5).Draw(t, "epoch")
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				return StateRecord(id, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "state"))
			case 1:
				return ResetRecord(id, Position{epoch, max(m.applied[id], p.base.LSN) + rapid.Uint64Range(0, 9).Draw(t, "skip")})
			case 2, 3:
				lowest := max(p.base.LSN, m.applied[id]) + 1
				lsn := rapid.Uint64Range(lowest, p.last().LSN+1).Draw(t, "truncating lsn")
				return EntryRecord(id, Entry{epoch, lsn, []byte("in place of another")})
			default:
				data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
				return EntryRecord(id, Entry{epoch, p.last().LSN + 1, data})
			}
		}
		drain := func() {
			for ; m.acked < len(m.records); m.acked++ {
				if err := <-acks; err != nil {
					t.Fatal(err)
				}
			}
		}
		reopen := func(fs *memFS) *Recovery {
			_ = l.Close()
			opts.FS = fs
			fresh, found, err := Open(opts)
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			l = fresh
			return found
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var batch []Record
				for range rapid.IntRange(1, 4).Draw(t, "records") {
					batch = append(batch, drawRecord(t, replay(slices.Concat(m.records, batch))))
				}
				m.records = append(m.records, batch...)
				told := acks // a crash lets nobody hear of what it has lost
				if err := begin(l, batch, func(err error) {
					for range batch {
						told <- err
					}
				}); err != nil {
					t.Fatal(err)
				}
			},
			"wait": func(*rapid.T) { drain() },
			"apply": func(t *rapid.T) {
				drain()
				for id, p := range replay(m.records) {
					lsn := rapid.Uint64Range(p.base.LSN, p.last().LSN).Draw(t, "applied")
					m.applied[id] = max(m.applied[id], lsn)
					l.Applied(id, lsn)
				}
			},
			"reopen": func(t *rapid.T) {
				_ = l.Close()
				drain()
				if diff := m.differs(l, reopen(opts.FS.(*memFS)), m.records); diff != "" {
					t.Fatal(diff)
				}
			},
			"crash": func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				for len(acks) > 0 {
					if err := <-acks; err != nil {
						t.Fatal(err)
					}
					m.acked++
				}
				crashed := opts.FS.(*memFS).crash(rng)
				_ = l.Close()
				acks = make(chan error, cap(acks))
				found := reopen(crashed)
				var diff string
				for n := m.acked; n <= len(m.records); n++ {
					if diff = m.differs(l, found, m.records[:n]); diff == "" {
						m.records, m.acked = m.records[:n], n
						return
					}
				}
				t.Fatalf("the log holds no first part of what was appended, from the %d acknowledged to %d: %s", m.acked, len(m.records), diff)
			},
			"": func(*rapid.T) {},
		})
	})
}
