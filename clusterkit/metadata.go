package clusterkit

import "context"

// SetMetadata records an entry of the application's own, which every node then
// finds in [Map.Metadata]. It is for what all nodes have to agree on and that
// seldom changes: at most 64 entries, keys of 128 bytes, values of 4 KiB. The
// errors match [ErrRefused], [ErrNoLeader] or [ErrUnknown].
func (ck *ClusterKit) SetMetadata(ctx context.Context, key, value string) error {
	return ck.change(ctx, "set metadata", metadataCommand{Key: key, Value: value})
}

// DeleteMetadata deletes an entry; it is no error when there is none.
func (ck *ClusterKit) DeleteMetadata(ctx context.Context, key string) error {
	return ck.change(ctx, "delete metadata", metadataCommand{Key: key, Delete: true})
}
