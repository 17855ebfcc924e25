package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alpha = Peer{Node: "alpha", Store: "disk-a"}
	beta  = Peer{Node: "beta", Store: "disk-b"}
)

// frameOf returns a frame from alpha to beta.
func frameOf(envelopes ...Envelope) []byte {
	buf := beginFrame(nil)
	for i := range envelopes {
		buf = appendMessage(buf, envelopes[i].Partition, &envelopes[i].Message)
	}
	finishFrame(buf)
	return buf
}

// decode reads one frame from alpha, as beta does.
func decode(frame []byte) (envelopes []Envelope, err error) {
	body, err := readFrame(bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	err = decodeFrame(body, alpha, beta, func(e Envelope) { envelopes = append(envelopes, e) })
	return envelopes, err
}

func member(p Peer, incarnation uint64) partition.Member {
	return partition.Member{Node: p.Node, Store: p.Store, Incarnation: incarnation}
}

// appendOf is a message with entries of the data given.
func appendOf(part uint32, data ...string) Envelope {
	m := partition.Message{
		Kind: partition.Append, From: member(alpha, 1), To: member(beta, 2),
		Epoch: 3, Prev: partition.Position{Epoch: 2, LSN: 9}, Commit: 8,
	}
	for i, d := range data {
		m.Entries = append(m.Entries, partition.Entry{Epoch: 3, LSN: 10 + uint64(i), Data: []byte(d)})
	}
	return Envelope{Partition: part, Message: m}
}

func TestFramesCarryMessagesUnchanged(t *testing.T) {
	position := rapid.Custom(func(t *rapid.T) partition.Position {
		return partition.Position{Epoch: rapid.Uint64().Draw(t, "epoch"), LSN: rapid.Uint64Max(1<<62).Draw(t, "lsn")}
	})
	envelope := rapid.Custom(func(t *rapid.T) Envelope {
		m := partition.Message{
			Kind:    partition.Kind(rapid.IntRange(int(partition.Append), int(partition.Behind)).Draw(t, "kind")),
			Status:  partition.Status(rapid.IntRange(int(partition.OK), int(partition.NotMember)).Draw(t, "status")),
			From:    member(alpha, rapid.Uint64().Draw(t, "from")),
			To:      member(beta, rapid.Uint64().Draw(t, "to")),
			Epoch:   rapid.Uint64().Draw(t, "epoch"),
			Prev:    position.Draw(t, "prev"),
			Commit:  rapid.Uint64().Draw(t, "commit"),
			Durable: rapid.Uint64().Draw(t, "durable"),
			Hint:    partition.Position{Epoch: rapid.Uint64().Draw(t, "hint epoch"), LSN: rapid.Uint64().Draw(t, "hint lsn")},
			Round:   rapid.Uint64().Draw(t, "round"),
		}
		for i, data := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 0, 5).Draw(t, "data") {
			if len(data) == 0 {
				data = nil // a no-op
			}
			m.Entries = append(m.Entries, partition.Entry{Epoch: rapid.Uint64().Draw(t, "entry epoch"), LSN: m.Prev.LSN + 1 + uint64(i), Data: data})
		}
		return Envelope{Partition: rapid.Uint32Max(1<<31).Draw(t, "partition"), Message: m}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(envelope, 0, 4).Draw(t, "envelopes")
		got, err := decode(frameOf(want...))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

// sealed returns a frame of any body, with a header that fits.
func sealed(body ...byte) []byte {
	frame := append(make([]byte, headerBytes), body...)
	finishFrame(frame)
	return frame
}

// message returns the fields of an Append of partition 1, then rest.
func message(rest ...uint64) []byte {
	body := []byte{frameVersion}
	for _, v := range append([]uint64{1, uint64(partition.Append), 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, rest...) {
		body = binary.AppendUvarint(body, v)
	}
	return body
}

// badFrames are frames that must be refused with ErrFrame.
func badFrames() map[string][]byte {
	valid := frameOf(appendOf(1, "data"))
	damaged := bytes.Clone(valid)
	damaged[len(damaged)-1] ^= 1
	huge := bytes.Clone(valid)
	binary.LittleEndian.PutUint32(huge, maxFrameBytes+1)
	return map[string][]byte{
		"damaged":                damaged,
		"another version":        sealed(frameVersion+1, 0),
		"no body":                make([]byte, headerBytes),
		"body too large":         huge,
		"fields missing":         sealed(frameVersion, 1, 1),
		"overlong varint":        sealed(append([]byte{frameVersion}, bytes.Repeat([]byte{0xff}, 11)...)...),
		"kind 0":                 sealed(frameVersion, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"unknown kind":           sealed(frameVersion, 1, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"unknown status":         sealed(frameVersion, 1, 1, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"more entries than fit":  sealed(message(1 << 60)...),
		"entry longer than body": sealed(message(1, 7, 1<<40)...),
		"entries missing":        sealed(message(2, 7, 0)...),
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	for name, frame := range badFrames() {
		t.Run(name, func(t *testing.T) {
			if got, err := decode(frame); !errors.Is(err, ErrFrame) {
				t.Errorf("decoded %+v, %v, want ErrFrame", got, err)
			}
		})
	}
}

func TestCutFramesAreNotFrames(t *testing.T) {
	frame := frameOf(appendOf(1, "data"), appendOf(2))
	if _, err := readFrame(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("at the end of the stream: %v, want EOF", err)
	}
	for n := 1; n < len(frame); n++ {
		if _, err := readFrame(bytes.NewReader(frame[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v, want an unexpected EOF", n, err)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A peer makes this node allocate no more than a small multiple of what it
// sends: an entry of two bytes takes forty in memory.
func FuzzFrames(f *testing.F) {
	f.Add(frameOf())
	f.Add(frameOf(appendOf(1, "one", "two"), appendOf(2)))
	for _, frame := range badFrames() {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := decode(claim(in)); err == nil {
			checkCanonical(t, claim(in))
		}
		if len(in) == 0 {
			return
		}
		body := append([]byte{frameVersion}, in...) // so that checksums do not keep the fuzzer out
		bytes := allocated(func() {
			_ = decodeFrame(body, alpha, beta, func(Envelope) {})
		})
		if limit := uint64(64*len(body) + 64<<10); bytes > limit {
			t.Errorf("%d bytes made it allocate %d", len(body), bytes)
		}
	})
}

// claim cuts the length that a frame claims to what it has, beyond which
// there is only the end of the stream.
func claim(frame []byte) []byte {
	if len(frame) < headerBytes {
		return frame
	}
	frame = bytes.Clone(frame)
	if n := binary.LittleEndian.Uint32(frame); n <= maxFrameBytes {
		binary.LittleEndian.PutUint32(frame, min(n, uint32(len(frame))))
	}
	return frame
}

// checkCanonical wants what was decoded to survive being sent on.
func checkCanonical(t *testing.T, frame []byte) {
	t.Helper()
	first, err := decode(frame)
	if err != nil {
		t.Fatal(err)
	}
	second, err := decode(frameOf(first...))
	if err != nil || !reflect.DeepEqual(first, second) {
		t.Errorf("decoded %+v, and after another round trip %+v, %v", first, second, err)
	}
}

func BenchmarkFrame(b *testing.B) {
	e := appendOf(7, string(make([]byte, 256)))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = beginFrame(buf)
		buf = appendMessage(buf, e.Partition, &e.Message)
		finishFrame(buf)
		if err := decodeFrame(buf[headerBytes:], alpha, beta, func(Envelope) {}); err != nil {
			b.Fatal(err)
		}
	}
}
