package clusterkit

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
