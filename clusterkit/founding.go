package clusterkit

// founding returns the first command of the cluster that this directory's node
// has founded, zero if it has founded none. It is on disk before Raft has its
// first configuration, so that a founder that crashes in between goes on with
// it.
func (d *dataDir) founding() bootstrapCommand {
	id := d.identity()
	if !id.Founder || id.Config == nil {
		return bootstrapCommand{}
	}
	return bootstrapCommand{ClusterUUID: id.ClusterUUID, Config: *id.Config}
}
