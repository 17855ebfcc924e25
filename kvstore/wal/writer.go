package wal

// write is the writer goroutine: it takes group after group to disk and
// reports each. It ends when the log closes and nothing is pending, or when
// the log has failed.
func (l *Log) write() {
	for {
		g := l.nextGroup()
		if g == nil {
			break
		}
		if err := g.segment.writeGroup(g); err != nil {
			l.mu.Lock()
			l.fail("write "+g.segment.name, err)
			l.mu.Unlock()
			break
		}
		if !l.finish(g) {
			break
		}
	}
	l.abandon()
}

// nextGroup waits for a group, seals it and returns it; nil when there is
// nothing left to write.
func (l *Log) nextGroup() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.groups) == 0 && !l.closing && l.failed == nil {
		l.work.Wait()
	}
	if len(l.groups) == 0 || l.failed != nil {
		return nil
	}
	if g := l.groups[0]; !g.sealed {
		l.sealOpen()
	}
	return l.groups[0]
}

// finish reports that g, the oldest group, is durable, unless the log has
// failed meanwhile.
func (l *Log) finish(g *group) bool {
	l.mu.Lock()
	if l.failed != nil {
		l.mu.Unlock()
		return false
	}
	l.groups = append(l.groups[:0], l.groups[1:]...)
	l.pending -= g.counted
	if g.offset == 0 {
		l.durable = g.segment.seq
	}
	if g.offset == 0 || g.seq == l.replaced {
		l.wakeTender()
	}
	reports := g.done
	g.done = l.reported
	l.spare = append(l.spare, g)
	l.room.Broadcast()
	l.mu.Unlock()

	for i, done := range reports {
		done(nil)
		reports[i] = nil
	}
	l.reported = reports[:0]
	return true
}

// abandon reports the error of a failed log to all who still wait.
func (l *Log) abandon() {
	l.mu.Lock()
	err := l.failed
	groups := l.groups
	if err != nil {
		l.groups = nil
	}
	l.mu.Unlock()
	if err == nil {
		return
	}
	for _, g := range groups {
		for _, done := range g.done {
			done(err)
		}
	}
}
