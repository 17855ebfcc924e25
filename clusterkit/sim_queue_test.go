package clusterkit

import "time"

// simEvent happens at a true time.
type simEvent struct {
	at     time.Duration
	serial uint64
	do     func()
}

func (e simEvent) before(other simEvent) bool {
	return e.at < other.at || e.at == other.at && e.serial < other.serial
}

// simQueue is a binary heap.
type simQueue []simEvent

func (q *simQueue) push(e simEvent) {
	*q = append(*q, e)
	h := *q
	i := len(h) - 1
	for i > 0 && e.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = e
}

func (q *simQueue) pop() simEvent {
	h := *q
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = simEvent{}
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if child >= len(h) || !h[child].before(last) {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = last
	return first
}
