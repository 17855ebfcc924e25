package wallclock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

type victim struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
	pid int
}

func start(t *testing.T) *victim {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asked+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &victim{t, in, bufio.NewReader(out), cmd.Process.Pid}
}

// wrong returns by how much the victim's time of day is, and how long it thinks
// that it runs.
func (v *victim) wrong() (by, runs time.Duration) {
	v.t.Helper()
	if _, err := v.in.Write([]byte{0}); err != nil {
		v.t.Fatal(err)
	}
	var day, since int64
	if _, err := fmt.Fscan(v.out, &day, &since); err != nil {
		v.t.Fatal(err)
	}
	return time.Until(time.Unix(day, 0)), time.Duration(since) * time.Second
}

func TestJump(t *testing.T) {
	v := start(t)
	v.wrong()
	c, err := Open(v.pid)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []time.Duration{0, time.Hour, -24 * time.Hour, 0} {
		if err := c.Set(offset); err != nil {
			t.Fatal(err)
		}
		by, runs := v.wrong()
		if (by - offset).Abs() > 10*time.Minute {
			t.Errorf("set wrong by %v, it is wrong by %v", offset, by)
		}
		if runs < 0 || runs > 10*time.Minute {
			t.Errorf("set wrong by %v, it thinks that it runs for %v", offset, runs)
		}
		if c.Offset() != offset {
			t.Errorf("set wrong by %v, told %v", offset, c.Offset())
		}
	}
}

func TestNoSuchProcess(t *testing.T) {
	if _, err := Open(1 << 30); err == nil {
		t.Error("took hold of the clock of no process")
	}
}
