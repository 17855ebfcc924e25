package clusterkit

// ObserveMaps has f called with every map that this node comes to know: a Watch
// leaves out those that were replaced before they were taken. It is for before
// the start, and f must not block.
func (ck *ClusterKit) ObserveMaps(f func(m *Map)) {
	published := ck.state.published
	ck.state.published = func(prev, next *Map) {
		published(prev, next)
		f(next)
	}
}

// TakeSnapshot makes a snapshot of what this node knows, and keeps hardly
// anything of the log before it: others have to be sent the snapshot.
func (ck *ClusterKit) TakeSnapshot() error {
	r := ck.book.raft.Load()
	config := r.ReloadableConfig()
	config.TrailingLogs = 1
	if err := r.ReloadConfig(config); err != nil {
		return err
	}
	return r.Snapshot().Error()
}
