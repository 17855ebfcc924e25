package clustertest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		start := c.Now()
		read := func(what string, want time.Duration) {
			t.Helper()
			if got := c.Now() - start; got != want {
				t.Errorf("%s the clock has gone by %s, want %s", what, got, want)
			}
		}
		time.Sleep(time.Second)
		read("after a second", time.Second)
		c.Advance(time.Minute)
		read("advanced by a minute", time.Minute+time.Second)
		c.SetRate(1.5)
		time.Sleep(2 * time.Second)
		read("after two seconds that were too fast", time.Minute+4*time.Second)
		c.SetRate(0)
		time.Sleep(time.Hour)
		read("after an hour of standing still", time.Minute+4*time.Second)
		c.SetRate(1)
		time.Sleep(time.Second)
		read("after a second more", time.Minute+5*time.Second)
	})
}

func TestAClockDoesNotGoBack(t *testing.T) {
	for name, back := range map[string]func(*Clock){
		"Advance": func(c *Clock) { c.Advance(-1) },
		"SetRate": func(c *Clock) { c.SetRate(-1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it went back")
				}
			}()
			back(newClock())
		})
	}
}
