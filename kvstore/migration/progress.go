package migration

import "time"

// Progress is how much of a snapshot is here.
type Progress struct {
	// Items of TotalItems are here, which take Bytes.
	Items, TotalItems, Bytes uint64
}

// Total returns how many bytes the whole snapshot takes, judged by the items
// that are here, or 0 while there are none.
func (p Progress) Total() uint64 {
	if p.Items == 0 {
		return 0
	}
	return uint64(float64(p.Bytes) / float64(p.Items) * float64(max(p.TotalItems, p.Items)))
}

// ETA returns how long the rest takes at a rate in bytes per second, and false
// if nobody can know.
func (p Progress) ETA(rate float64) (time.Duration, bool) {
	total := p.Total()
	if total == 0 || rate < 1 {
		return 0, false
	}
	seconds := float64(total-min(p.Bytes, total)) / rate
	if seconds > (100 * 365 * 24 * time.Hour).Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

const (
	// meterWindow is the least time that a rate is measured over, and
	// meterMemory how long a measurement counts, about.
	meterWindow = 250 * time.Millisecond
	meterMemory = 3 * time.Second
)

// Meter measures a rate. The zero value is one that has not begun.
type Meter struct {
	begun bool
	at    time.Duration
	bytes uint64
	rate  float64
}

// Observe returns the meter after it has been told that there are so many bytes
// at that time. Neither goes back; if the bytes do, it begins anew.
func (m Meter) Observe(now time.Duration, bytes uint64) Meter {
	if !m.begun || bytes < m.bytes {
		return Meter{begun: true, at: now, bytes: bytes}
	}
	passed := now - m.at
	if passed < meterWindow {
		return m
	}
	measured := float64(bytes-m.bytes) / passed.Seconds()
	weight := min(1, passed.Seconds()/meterMemory.Seconds())
	if m.rate == 0 {
		weight = 1
	}
	return Meter{true, now, bytes, m.rate + weight*(measured-m.rate)}
}

// Rate returns the bytes per second.
func (m Meter) Rate() float64 { return m.rate }
