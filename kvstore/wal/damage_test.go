package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"path/filepath"
	"testing"
)

// damaged is a log of several segments whose every group is known.
type damaged struct {
	fs     *memFS
	groups []writtenGroup
}

type writtenGroup struct {
	file       string
	start, end int64
	// after is what the log held when the group was durable.
	after map[uint32]string
}

func writeForDamage(t *testing.T) *damaged {
	d := &damaged{fs: newMemFS()}
	l, _ := mustOpen(t, Options{Dir: "log", FS: d.fs, SegmentBytes: 4 << 10})
	want := map[uint32]string{}
	for i := range uint64(6) {
		big := string(bytes.Repeat([]byte{byte('a' + i)}, 400))
		batch := []Record{entry(1, 1, i+1, big), entry(2, i, i+1, "small"), StateRecord(3, []byte{byte(i)})}
		mustAppend(t, l, batch...)
		want[1], want[2] = fmt.Sprint(contents(t, l, 1)), fmt.Sprint(contents(t, l, 2))
		want[3] = fmt.Sprintf("state %d", i)

		l.mu.Lock()
		at := l.partitions[2].where[i]
		file := segmentName("log", at.segment)
		h, ok := header{}, false
		start := int64(at.offset)
		for ; !ok; start-- {
			h, ok = parseHeader(d.fs.read(file)[start:])
		}
		l.mu.Unlock()
		d.groups = append(d.groups, writtenGroup{file, start + 1, start + 1 + groupHeader + h.length, maps.Clone(want)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if d.groups[0].file == d.groups[len(d.groups)-1].file {
		t.Fatal("the log has one segment only")
	}
	for _, file := range d.fs.list() {
		d.leaveEarlierLife(t, file)
	}
	return d
}

// leaveEarlierLife fills what no group of the file takes up with groups of
// the same log that the file held under another name.
func (d *damaged) leaveEarlierLife(t *testing.T, file string) {
	first, _ := parseHeader(d.fs.read(d.groups[0].file))
	free := int64(0)
	for _, g := range d.groups {
		if g.file == file {
			free = align(g.end)
		}
	}
	node := d.fs.names[file]
	for at := free; at < int64(len(node.data)); at += sector {
		lsn := uint64(at / sector)
		copy(node.data[at:], groupOf(first.identity, d.number(t, file)+1<<31, lsn+1, entry(1, 1, lsn, "stale")))
	}
	node.synced = bytes.Clone(node.data)
}

// copy returns a file system in which change was made to one file.
func (d *damaged) copy(file string, change func([]byte) []byte) *memFS {
	c := d.fs.crash(nil)
	node := c.names[file]
	node.data = change(node.data)
	node.synced = bytes.Clone(node.data)
	return c
}

// wantVerdict opens the log in fs: it must hold exactly what it held after
// group keep, or be corrupt if keep is negative. After a repair the log takes
// writes, and opens again with the same contents.
func (d *damaged) wantVerdict(t *testing.T, what string, fs *memFS, keep int) {
	t.Helper()
	before := map[string][]byte{}
	for name, node := range fs.names {
		before[name] = bytes.Clone(node.data)
	}
	l, found, err := Open(Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10})
	if keep < 0 {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: Open = %v, want ErrCorrupt", what, err)
		}
		for name, data := range before {
			if !bytes.Equal(fs.names[name].data, data) {
				t.Fatalf("%s: a corrupt log was changed", what)
			}
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: Open: %v", what, err)
	}
	for round := range 2 {
		got := map[uint32]string{
			1: fmt.Sprint(contents(t, l, 1)),
			2: fmt.Sprint(contents(t, l, 2)),
			3: "state " + fmt.Sprint(found.Partitions[3].State[0]),
		}
		if !maps.Equal(got, d.groups[keep].after) {
			t.Fatalf("%s, round %d: the log holds %v, want %v", what, round, got, d.groups[keep].after)
		}
		mustAppend(t, l, entry(9, 1, uint64(round+1), "after the repair"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, found, err = Open(Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10}); err != nil {
			t.Fatalf("%s: Open after the repair: %v", what, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFlippedByteGetsItsVerdict(t *testing.T) {
	d := writeForDamage(t)
	final := len(d.groups) - 1
	for _, file := range d.fs.list() {
		for offset := range d.fs.names[file].data {
			keep := final
			for i, g := range d.groups {
				if g.file == file && int64(offset) >= g.start && int64(offset) < g.end {
					keep = -1
					if i == final {
						keep = final - 1
					}
				}
			}
			flipped := d.copy(file, func(b []byte) []byte {
				b[offset] ^= byte(1 << (offset % 8))
				return b
			})
			d.wantVerdict(t, fmt.Sprintf("%s, bit flipped at %d", file, offset), flipped, keep)
		}
	}
}

func TestEveryTruncationGetsItsVerdict(t *testing.T) {
	d := writeForDamage(t)
	final := len(d.groups) - 1
	for _, file := range d.fs.list() {
		for size := range d.fs.names[file].data {
			keep := final
			for i, g := range d.groups {
				if g.file == file && g.end > int64(size) {
					keep = min(keep, i-1)
				}
			}
			if keep < final && file != d.groups[final].file {
				keep = -1
			}
			short := d.copy(file, func(b []byte) []byte { return b[:size] })
			d.wantVerdict(t, fmt.Sprintf("%s, cut to %d bytes", file, size), short, keep)
		}
	}
}

func TestMissingSegmentIsCorruption(t *testing.T) {
	d := writeForDamage(t)
	final := d.groups[len(d.groups)-1].file
	first := d.groups[0].file
	for _, g := range d.groups {
		if g.file == first || g.file == final {
			continue
		}
		fs := d.fs.crash(nil)
		delete(fs.names, g.file)
		d.wantVerdict(t, g.file+" is missing", fs, -1)
	}
}

func TestTornTailIsReported(t *testing.T) {
	d := writeForDamage(t)
	g := d.groups[len(d.groups)-1]
	fs := d.copy(g.file, func(b []byte) []byte { return b[:g.end-1] })
	_, found := mustOpen(t, Options{Dir: "log", FS: fs})
	if !found.Torn {
		t.Error("Recovery.Torn is false after a tail was cut off")
	}
	if last := found.Partitions[1].Last.LSN; last != 5 {
		t.Errorf("the log ends at %d, want 5", last)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	d := writeForDamage(t)
	d.fs.names["log/notes.txt"] = &memNode{}
	if _, _, err := Open(Options{Dir: "log", FS: d.fs}); err == nil {
		t.Error("Open accepted a directory with a foreign file")
	}
}

// TestStaleRecordsNeverPass puts the records of one group behind the header
// of another, as a torn write to a segment that is written anew would.
func TestStaleRecordsNeverPass(t *testing.T) {
	ours := groupOf(7, 2, 9, entry(1, 2, 3, "data"))
	for name, stale := range map[string][]byte{
		"older segment": groupOf(7, 1, 9, entry(1, 2, 3, "data")),
		"older group":   groupOf(7, 2, 8, entry(1, 2, 3, "data")),
		"another log":   groupOf(8, 2, 9, entry(1, 2, 3, "data")),
	} {
		torn := append(bytes.Clone(ours[:groupHeader]), stale[groupHeader:]...)
		h, ok := parseHeader(torn)
		if !ok {
			t.Fatal("the header is not valid")
		}
		if records, ok := cutGroup(torn[groupHeader:], h); ok {
			t.Errorf("%s: %v passes as ours", name, records)
		}
	}
	h, _ := parseHeader(ours)
	if _, ok := cutGroup(ours[groupHeader:], h); !ok {
		t.Error("our own records do not pass")
	}
}

// groupOf returns a sealed group whose entries follow ones of epoch 1.
func groupOf(identity uint64, number uint32, seq uint64, records ...Record) []byte {
	g := &group{}
	g.begin(identity, &segment{seq: number}, 0, seq)
	for _, r := range records {
		g.buf = appendRecord(g.buf, g.seed, r, 1)
	}
	g.seal()
	return g.buf
}

// TestForgedGroupsNeverPass leaves behind the log, in its segment, groups as
// a client could have put them into a value while the file had another name:
// it can know every number but the identity of the log.
func TestForgedGroupsNeverPass(t *testing.T) {
	d := writeForDamage(t)
	last := d.groups[len(d.groups)-1]
	number := d.number(t, last.file)
	h, _ := parseHeader(d.fs.read(last.file)[last.start:])
	for _, identity := range []uint64{0, h.identity + 1} {
		for name, forged := range map[string][]byte{
			"the next group":      groupOf(identity, number, h.seq+1, entry(1, 1, 7, "forged")),
			"the one after it":    groupOf(identity, number, h.seq+2, entry(1, 1, 7, "forged")),
			"the last group anew": groupOf(identity, number, h.seq, entry(1, 1, 6, "forged")),
		} {
			fs := d.copy(last.file, func(b []byte) []byte {
				copy(b[align(last.end):], forged)
				return b
			})
			d.wantVerdict(t, fmt.Sprintf("%s with identity %d", name, identity), fs, len(d.groups)-1)
		}
	}
	fs := d.copy(last.file, func(b []byte) []byte {
		copy(b[align(last.end)+sector:], groupOf(h.identity, number, h.seq+2, entry(1, 1, 7, "ours")))
		return b
	})
	d.wantVerdict(t, "a group of our own that is ahead", fs, -1)
}

// number returns that of the segment of a file.
func (d *damaged) number(t *testing.T, file string) uint32 {
	t.Helper()
	number, ok := segmentSeq(filepath.Base(file))
	if !ok {
		t.Fatalf("%s is no segment", file)
	}
	return number
}

func FuzzGroup(f *testing.F) {
	f.Add(groupOf(7, 1, 1, entry(1, 2, 3, "data"), StateRecord(1, []byte("state"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		fixChecksums(b)
		h, ok := parseHeader(b)
		if !ok {
			return
		}
		records, ok := cutGroup(b[groupHeader:], h)
		if !ok {
			return
		}
		again := bytes.Clone(b[:groupHeader])
		for _, r := range records {
			again = appendRecord(again, h.seed, r.Record, r.prevEpoch)
		}
		if int64(len(again)) != groupHeader+h.length || !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}

// FuzzOpen feeds the recovery with arbitrary segments. It must neither panic
// nor believe in records that it cannot read again.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(nil), []byte(nil), false)
	fs := newMemFS()
	l, _ := mustOpen(f, Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10})
	for i := range uint64(6) {
		mustAppend(f, l, entry(1, 1, i+1, "data of entry"), StateRecord(1, []byte("state")), entry(1, 2, i+1, "again"))
	}
	for i := range uint64(3) {
		mustAppend(f, l, entry(2, 1, i+1, string(make([]byte, 1500))))
	}
	f.Add(fs.read(segmentName("log", 1)), fs.read(segmentName("log", 2)), true)
	f.Add(fs.read(segmentName("log", 1))[:700], []byte(nil), true)
	f.Fuzz(func(t *testing.T, first, second []byte, repair bool) {
		fs := newMemFS()
		for i, data := range [][]byte{first, second} {
			if repair {
				fixChecksums(data)
			}
			fs.names[segmentName("log", uint32(i+1))] = &memNode{data: data}
		}
		l, found, err := Open(Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("Open = %v, want ErrCorrupt or success", err)
			}
			return
		}
		for id, p := range found.Partitions {
			if got := uint64(len(contents(t, l, id))); got != p.Last.LSN-p.Base.LSN {
				t.Errorf("partition %d: read %d entries, recovered %+v", id, got, p)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// fixChecksums makes the groups in b pass, so that fuzzing reaches what
// stands behind the checksums.
func fixChecksums(b []byte) {
	for at := 0; at+groupHeader <= len(b); at += sector {
		length := int(b[at+groupIdentity]) | int(b[at+groupIdentity+1])<<8
		if length > len(b)-at-groupHeader {
			continue
		}
		fixRecords(b[at:at+groupHeader+length], length)
	}
}

func fixRecords(b []byte, length int) {
	head := b[:groupHeader]
	putCRC(head[groupHeader-4:], 0, head[:groupHeader-4])
	h, ok := parseHeader(head)
	if !ok {
		return
	}
	for rest := b[groupHeader : groupHeader+length]; len(rest) >= recordHeader; {
		end := recordHeader + (int(rest[recordHeader-4]) | int(rest[recordHeader-3])<<8)
		if end > len(rest) {
			return
		}
		putCRC(rest, h.seed, rest[4:end])
		rest = rest[end:]
	}
}

func putCRC(dst []byte, seed uint32, b []byte) {
	binary.LittleEndian.PutUint32(dst, crc32.Update(seed, castagnoli, b))
}
