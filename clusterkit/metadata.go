package clusterkit

import (
	"context"
	"fmt"
	"unicode/utf8"
)

// SetMetadata records an entry of the application's own, which every node then
// finds in [Map.Metadata]. It is for what all nodes have to agree on and that
// seldom changes: at most 64 entries, keys of 128 bytes, values of 4 KiB, both
// of valid UTF-8. The errors match [ErrRefused], [ErrNoLeader] or [ErrUnknown].
func (ck *ClusterKit) SetMetadata(ctx context.Context, key, value string) error {
	if !utf8.ValidString(key) || !utf8.ValidString(value) {
		return fmt.Errorf("set metadata: %w: the key or the value is not valid UTF-8: encode it, as base64 for one", errBadRequest)
	}
	return ck.change(ctx, "set metadata", metadataCommand{Key: key, Value: value})
}

// DeleteMetadata deletes an entry; it is no error when there is none.
func (ck *ClusterKit) DeleteMetadata(ctx context.Context, key string) error {
	return ck.change(ctx, "delete metadata", metadataCommand{Key: key, Delete: true})
}
