package sim

import "time"

// event is something that happens.
type event struct {
	at     time.Duration
	serial uint64 // orders events of one time
	// node is where it happens, nil if that is no node: it does not happen
	// while the node is down, and while it is paused it waits.
	node *node
	// process, unless 0, is the only process of the node that it happens to.
	process uint64
	do      func()
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.serial < o.serial
}

// queue is a heap of events, the next one first.
type queue struct {
	events []event
	serial uint64
}

func (q *queue) push(e event) {
	q.serial++
	e.serial = q.serial
	q.events = append(q.events, e)
	h, i := q.events, len(q.events)-1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// pop takes the next event, which must be there.
func (q *queue) pop() event {
	h := q.events
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	q.events = h
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&last) {
			break
		}
		h[i] = h[child]
		i = child
	}
	if len(h) > 0 {
		h[i] = last
	}
	return first
}
