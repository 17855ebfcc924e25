package kvstore

import (
	"testing"
	"time"
)

func TestReadsAreQuickOrNot(t *testing.T) {
	var r readTime
	many := func(d time.Duration) {
		for range 10 * readsWeighed {
			r.took(d)
		}
	}
	if !r.quick() {
		t.Error("before the first read")
	}
	many(5 * time.Microsecond)
	if r.took(time.Hour); !r.quick() {
		t.Error("after one that was slow")
	}
	if many(100 * time.Microsecond); r.quick() {
		t.Error("after many that came from a disk")
	}
	if many(5 * time.Microsecond); !r.quick() {
		t.Error("after many that came from memory again")
	}
}
