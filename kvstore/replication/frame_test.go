package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"math"
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
	for e, err := range messages(body, alpha, beta) {
		if err != nil {
			return envelopes, err
		}
		envelopes = append(envelopes, e)
	}
	return envelopes, nil
}

// each returns what a receiver calls for a frame, from what is to be called for
// each message.
func each(deliver func(Envelope) error) func(iter.Seq2[Envelope, error]) error {
	return func(frame iter.Seq2[Envelope, error]) error {
		for e, err := range frame {
			if err != nil {
				return err
			}
			if err := deliver(e); err != nil {
				return err
			}
		}
		return nil
	}
}

func ignore(Envelope) error { return nil }

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
		return partition.Position{Epoch: rapid.Uint64Max(maxNumber).Draw(t, "epoch"), LSN: rapid.Uint64Max(maxNumber).Draw(t, "lsn")}
	})
	envelope := rapid.Custom(func(t *rapid.T) Envelope {
		m := partition.Message{
			Kind:    partition.Kind(rapid.IntRange(int(partition.Append), int(partition.Behind)).Draw(t, "kind")),
			Status:  partition.Status(rapid.IntRange(int(partition.OK), int(partition.NotMember)).Draw(t, "status")),
			From:    member(alpha, rapid.Uint64().Draw(t, "from")),
			To:      member(beta, rapid.Uint64().Draw(t, "to")),
			Epoch:   rapid.Uint64Max(maxNumber).Draw(t, "epoch"),
			Prev:    position.Draw(t, "prev"),
			Commit:  rapid.Uint64Max(maxNumber).Draw(t, "commit"),
			Durable: rapid.Uint64Max(maxNumber).Draw(t, "durable"),
			Hint:    position.Draw(t, "hint"),
			Round:   rapid.Uint64Max(maxNumber).Draw(t, "round"),
		}
		if m.Kind != partition.Append || m.Prev.Epoch > m.Epoch {
			return Envelope{Partition: rapid.Uint32().Draw(t, "partition"), Message: m}
		}
		epoch := m.Prev.Epoch
		for i, data := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 0, 5).Draw(t, "data") {
			if len(data) == 0 {
				data = nil // a no-op
			}
			epoch = rapid.Uint64Range(epoch, m.Epoch).Draw(t, "entry epoch")
			m.Entries = append(m.Entries, partition.Entry{Epoch: epoch, LSN: m.Prev.LSN + 1 + uint64(i), Data: data})
		}
		return Envelope{Partition: rapid.Uint32().Draw(t, "partition"), Message: m}
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

// message returns the fields of an Append of partition 1 in epoch 7, then
// rest: the number of entries, and the entries.
func message(rest ...uint64) []byte {
	return fields(map[int]uint64{}, rest...)
}

// fields is message with some of its fields changed.
func fields(changed map[int]uint64, rest ...uint64) []byte {
	body := []byte{frameVersion}
	for i, v := range append([]uint64{1, uint64(partition.Append), 0, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0}, rest...) {
		if other, ok := changed[i]; ok {
			v = other
		}
		body = binary.AppendUvarint(body, v)
	}
	return body
}

// Some of the fields of a message, by their place in a body.
const (
	fieldPartition = 0
	fieldKind      = 1
	fieldStatus    = 2
	fieldEpoch     = 5
	fieldPrevEpoch = 6
	fieldPrevLSN   = 7
	fieldCommit    = 8
	fieldDurable   = 9
	fieldHintEpoch = 10
	fieldHintLSN   = 11
)

type badFrame struct {
	reason Reason
	frame  []byte
}

// badFrames are frames that must be refused.
func badFrames() map[string]badFrame {
	valid := frameOf(appendOf(1, "data"))
	damaged := bytes.Clone(valid)
	damaged[len(damaged)-1] ^= 1
	huge := bytes.Clone(valid)
	binary.LittleEndian.PutUint32(huge, maxFrameBytes+1)
	with := func(field int, value uint64) []byte {
		return sealed(fields(map[int]uint64{field: value}, 0)...)
	}
	return map[string]badFrame{
		"damaged":                {BadChecksum, damaged},
		"another version":        {UnknownVersion, sealed(frameVersion+1, 0)},
		"no body":                {BadLength, make([]byte, headerBytes)},
		"body too large":         {BadLength, huge},
		"fields missing":         {Malformed, sealed(frameVersion, 1, 1)},
		"overlong varint":        {Malformed, sealed(append([]byte{frameVersion}, bytes.Repeat([]byte{0xff}, 11)...)...)},
		"kind 0":                 {Malformed, with(fieldKind, 0)},
		"unknown kind":           {Malformed, with(fieldKind, 99)},
		"unknown status":         {Malformed, with(fieldStatus, 99)},
		"partition out of range": {BadPartition, with(fieldPartition, 1<<32)},
		"epoch of the future":    {BadEpoch, with(fieldEpoch, math.MaxUint64)},
		"previous epoch":         {BadEpoch, with(fieldPrevEpoch, math.MaxUint64)},
		"epoch of a hint":        {BadEpoch, with(fieldHintEpoch, math.MaxUint64)},
		"LSN":                    {Malformed, with(fieldPrevLSN, math.MaxUint64)},
		"commit mark":            {Malformed, with(fieldCommit, math.MaxUint64)},
		"durable LSN":            {Malformed, with(fieldDurable, math.MaxUint64)},
		"LSN of a hint":          {Malformed, with(fieldHintLSN, math.MaxUint64)},
		"entry of a later epoch": {BadEpoch, sealed(message(1, 8, 0)...)},
		"epochs that fall":       {BadEpoch, sealed(message(2, 5, 0, 4, 0)...)},
		"entry below its prev":   {BadEpoch, sealed(fields(map[int]uint64{fieldPrevEpoch: 6}, 1, 5, 0)...)},
		"entries of an answer":   {Malformed, sealed(fields(map[int]uint64{fieldKind: uint64(partition.AppendReply)}, 1, 7, 0)...)},
		"countless entries":      {Oversized, sealed(message(1 << 60)...)},
		"more entries than fit":  {Malformed, sealed(message(1000)...)},
		"entry longer than body": {Malformed, sealed(message(1, 7, 1<<40)...)},
		"entries missing":        {Malformed, sealed(message(2, 7, 0)...)},
		"entry too large":        {Oversized, frameOf(appendOf(1, string(make([]byte, maxMessageBytes))))},
		"entries too large":      {Oversized, frameOf(appendOf(1, string(make([]byte, maxMessageBytes/2)), string(make([]byte, maxMessageBytes/2))))},
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	for name, bad := range badFrames() {
		t.Run(name, func(t *testing.T) {
			got, err := decode(bad.frame)
			if refused := (*FrameError)(nil); !errors.Is(err, ErrFrame) || !errors.As(err, &refused) || refused.Reason != bad.reason {
				t.Errorf("decoded %+v, %v, want it refused for its %s", got, err, bad.reason)
			}
		})
	}
	if _, err := decode(sealed(message(1, 7, 0)...)); err != nil {
		t.Errorf("the frame that the bad ones are made of is refused: %v", err)
	}
}

// A frame that is refused has cost little more memory than what was sent: a
// body that grows is copied.
func TestClaimsCostNoMemory(t *testing.T) {
	for name, bad := range badFrames() {
		if bytes := allocated(func() { _, _ = decode(bad.frame) }); bytes > uint64(3*len(bad.frame)+64<<10) {
			t.Errorf("%s: %d bytes made it allocate %d", name, len(bad.frame), bytes)
		}
	}
	header := binary.LittleEndian.AppendUint32(nil, maxFrameBytes)
	header = append(header, 0, 0, 0, 0)
	if bytes := allocated(func() { _, _ = decode(header) }); bytes > allocationStep+64<<10 {
		t.Errorf("a header alone made it allocate %d", bytes)
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
	for _, bad := range badFrames() {
		if len(bad.frame) < 1<<20 {
			f.Add(bad.frame)
		}
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
			_ = each(ignore)(messages(body, alpha, beta))
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
		if err := each(ignore)(messages(buf[headerBytes:], alpha, beta)); err != nil {
			b.Fatal(err)
		}
	}
}
