package wire

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ports is a switchboard with ports that keep what they get.
type ports struct {
	*switchboard
	mu  sync.Mutex
	got map[string][]byte
}

func newPorts(names ...string) *ports {
	ps := &ports{switchboard: newSwitchboard(1), got: map[string][]byte{}}
	for i, name := range names {
		ps.add(&port{name: name, address: [4]byte{10, 0, 0, byte(i)}, write: func(b []byte) (int, error) {
			ps.mu.Lock()
			defer ps.mu.Unlock()
			ps.got[name] = append(ps.got[name], b[ipv4Header])
			return len(b), nil
		}})
	}
	return ps
}

// send sends a packet that carries one byte.
func (ps *ports) send(from, to string, b byte) {
	data := make([]byte, ipv4Header+1)
	data[0] = 4 << 4
	address := ps.ports[to].address
	copy(data[16:], address[:])
	data[ipv4Header] = b
	ps.carry(ps.ports[from], data)
}

func (ps *ports) expect(t *testing.T, at string, want ...byte) {
	t.Helper()
	if got := ps.take(at); !slices.Equal(got, want) {
		t.Errorf("%s got %v, want %v", at, got, want)
	}
}

// take returns what a port has got since the last time.
func (ps *ports) take(at string) []byte {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	got := ps.got[at]
	ps.got[at] = nil
	return got
}

func TestCutIsOneWay(t *testing.T) {
	ps := newPorts("a", "b", "c")
	defer ps.close()
	if !ps.shape("a", "b", &Shape{Cut: true}) || ps.shape("a", "a", &Shape{}) || ps.shape("a", "x", &Shape{}) {
		t.Error("links exist between all that are attached, and no others")
	}
	ps.send("a", "b", 1)
	ps.send("b", "a", 2)
	ps.send("a", "c", 3)
	ps.expect(t, "b")
	ps.expect(t, "a", 2)
	ps.expect(t, "c", 3)
	if met := ps.mend(); met != 1 {
		t.Errorf("the cut met %d packets, want 1", met)
	}
	ps.send("a", "b", 4)
	ps.expect(t, "b", 4)
	if met := ps.mend(); met != 0 {
		t.Errorf("nothing met %d packets", met)
	}
}

func TestWhatIsNoPacketForAnyoneIsDropped(t *testing.T) {
	ps := newPorts("a", "b")
	defer ps.close()
	unknown := make([]byte, ipv4Header)
	unknown[0], unknown[19] = 4<<4, 99
	for _, data := range [][]byte{nil, make([]byte, ipv4Header-1), {6 << 4, ipv4Header + 20: 0}, unknown} {
		ps.carry(ps.ports["a"], data)
	}
	ps.expect(t, "b")
}

func TestDelayKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newPorts("a", "b")
		defer ps.close()
		ps.shape("a", "b", &Shape{Delay: time.Second})
		for b := range byte(5) {
			ps.send("a", "b", b)
		}
		time.Sleep(time.Second - 1)
		synctest.Wait()
		ps.expect(t, "b")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		ps.expect(t, "b", 0, 1, 2, 3, 4)
	})
}

func TestReorderOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newPorts("a", "b")
		defer ps.close()
		ps.shape("a", "b", &Shape{Delay: time.Second, Reorder: 0.3})
		for b := range byte(100) {
			ps.send("a", "b", b)
		}
		early := ps.take("b")
		time.Sleep(time.Second)
		synctest.Wait()
		late := ps.take("b")
		if len(early) == 0 || len(late) == 0 || len(early)+len(late) != 100 || slices.Max(early) < late[0] {
			t.Errorf("%v came early, %v late", early, late)
		}
	})
}

func TestLossIsRepeatable(t *testing.T) {
	arrived := func() []byte {
		ps := newPorts("a", "b")
		defer ps.close()
		ps.shape("a", "b", &Shape{Loss: 0.5})
		for b := range byte(100) {
			ps.send("a", "b", b)
		}
		return ps.take("b")
	}
	first := arrived()
	if len(first) == 0 || len(first) == 100 {
		t.Errorf("%d of 100 packets arrived, with a loss of a half", len(first))
	}
	if again := arrived(); !slices.Equal(again, first) {
		t.Errorf("the same seed lost others: %v and %v arrived", first, again)
	}
}
