package wal

// commit waits until the group that took a batch is durable. Of those who wait,
// one at a time writes: the oldest group, whoever appended to it, while the
// next gathers. So an appender that is alone takes its batch to disk itself,
// and no goroutine hands anything to another. l.mu is held, and was released
// meanwhile.
//
// seq is the number that the group has: once it is durable, g may serve as
// another.
func (l *Log) commit(g *group, seq uint64) error {
	for l.written < seq {
		switch {
		case l.failed != nil:
			return l.failed
		case l.writing:
			g.written.Wait()
		default:
			l.writeOldest()
		}
	}
	return nil
}

// writeOldest takes the oldest group to disk and tells those who wait for it,
// and one of the next group that it is its turn. l.mu is held, and was released
// meanwhile.
func (l *Log) writeOldest() {
	g := l.groups[0]
	if !g.sealed {
		l.sealOpen()
	}
	l.writing = true
	l.mu.Unlock()
	err := g.segment.writeGroup(g)
	l.mu.Lock()
	l.writing = false
	if err != nil {
		l.fail("write "+g.segment.name, err)
	}
	if l.failed != nil {
		l.room.Broadcast()
		return
	}
	l.written = g.seq
	l.groups = append(l.groups[:0], l.groups[1:]...)
	l.pending -= g.counted
	if g.offset == 0 {
		l.durable = g.segment.seq
	}
	if g.offset == 0 || g.seq == l.replaced {
		l.wakeTender()
	}
	g.written.Broadcast()
	if len(l.groups) > 0 {
		l.groups[0].written.Signal()
	}
	l.spare = append(l.spare, g)
	l.room.Broadcast()
}
