package wallclock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// code is what clock_gettime of the vDSO becomes:
//
//	mov  eax, 228           ; clock_gettime
//	syscall
//	test edi, edi           ; CLOCK_REALTIME is 0
//	jnz  done
//	test eax, eax
//	jnz  done
//	mov  rdx, [rip+offset]
//	add  [rsi], rdx         ; whole seconds
//	done: ret
//
// and the offset after it, aligned so that it is written as a whole.
var code = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00,
	0x0f, 0x05,
	0x85, 0xff,
	0x75, 0x0e,
	0x85, 0xc0,
	0x75, 0x0a,
	0x48, 0x8b, 0x15, 0x0a, 0x00, 0x00, 0x00,
	0x48, 0x01, 0x16,
	0xc3,
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
	0, 0, 0, 0, 0, 0, 0, 0,
}

const (
	offsetAt  = 32
	symbol    = "__vdso_clock_gettime"
	attempts  = 1000
	pollEvery = time.Millisecond
)

// Lacks says why no clock can be set here, "" if it can.
func Lacks() string { return "" }

// Open takes hold of the clock of a process. The process stands still for a few
// milliseconds.
func Open(pid int) (*Clock, error) {
	c := &Clock{pid: pid}
	if err := c.install(); err != nil {
		return nil, fmt.Errorf("clock of process %d: %w", pid, err)
	}
	return c, nil
}

// Set has the process's clock be wrong by so much, in whole seconds.
func (c *Clock) Set(offset time.Duration) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(int64(offset/time.Second)))
	if err := c.write(c.stub+offsetAt, b[:]); err != nil {
		return fmt.Errorf("clock of process %d: %w", c.pid, err)
	}
	c.offset = offset.Truncate(time.Second)
	return nil
}

func (c *Clock) install() error {
	from, to, err := c.vdso()
	if err != nil {
		return err
	}
	image, err := c.read(from, int(to-from))
	if err != nil {
		return err
	}
	at, size, err := find(image)
	if err != nil {
		return err
	}
	if at%8 != 0 || size < uint64(len(code)) {
		return fmt.Errorf("%s is at %#x and has %d bytes: it cannot be replaced", symbol, at, size)
	}
	c.stub = from + at
	return c.whileStopped(from, to, func() error { return c.write(c.stub, code) })
}

// vdso returns where the process has its vDSO.
func (c *Clock) vdso() (from, to uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, fmt.Errorf("it has no vDSO")
}

// find returns the place and the size of clock_gettime in a vDSO.
func find(image []byte) (at, size uint64, err error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, 0, err
	}
	for _, s := range symbols {
		if s.Name == symbol {
			return s.Value, s.Size, nil
		}
	}
	return 0, 0, fmt.Errorf("its vDSO has no %s", symbol)
}

// whileStopped stops the process when no thread is in a range of addresses, and
// lets it go on afterwards.
func (c *Clock) whileStopped(from, to uint64, do func() error) error {
	for range attempts {
		if err := syscall.Kill(c.pid, syscall.SIGSTOP); err != nil {
			return err
		}
		clear, err := c.outside(from, to)
		if clear && err == nil {
			err = do()
		}
		if err := syscall.Kill(c.pid, syscall.SIGCONT); err != nil {
			return err
		}
		if clear || err != nil {
			return err
		}
		<-time.After(pollEvery)
	}
	return fmt.Errorf("it never leaves the code that is to be replaced")
}

// outside reports whether every thread has stopped, out of the range.
func (c *Clock) outside(from, to uint64) (bool, error) {
	tasks := fmt.Sprintf("/proc/%d/task", c.pid)
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return false, err
	}
	for _, t := range threads {
		where, err := os.ReadFile(tasks + "/" + t.Name() + "/syscall")
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(where))
		if len(fields) == 1 {
			return false, nil // it is still running
		}
		pc, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
		if err != nil {
			return false, err
		}
		if pc >= from && pc < to {
			return false, nil
		}
	}
	return true, nil
}

func (c *Clock) read(at uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, c.memory(os.O_RDONLY, func(f *os.File) error {
		_, err := io.ReadFull(io.NewSectionReader(f, int64(at), int64(n)), b)
		return err
	})
}

func (c *Clock) write(at uint64, b []byte) error {
	return c.memory(os.O_RDWR, func(f *os.File) error {
		_, err := f.WriteAt(b, int64(at))
		return err
	})
}

func (c *Clock) memory(flag int, do func(*os.File) error) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), flag, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return do(f)
}
