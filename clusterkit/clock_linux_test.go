package clusterkit

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the clock reads lies between what is read before and after it by the
// ordinary call.
func TestSystemClockReadsBootTime(t *testing.T) {
	bootTime := func() time.Duration {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			t.Fatal(err)
		}
		return time.Duration(now.Nano())
	}
	for range 1000 {
		before := bootTime()
		now := systemClock{}.Now()
		if after := bootTime(); now < before || now > after {
			t.Fatalf("it reads %s between %s and %s", now, before, after)
		}
	}
	if n := testing.AllocsPerRun(100, func() { systemClock{}.Now() }); n != 0 {
		t.Fatalf("a reading allocates %v times", n)
	}
}
