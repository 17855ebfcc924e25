package command

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Operations are all that there are.
var Operations = []api.Op{api.OpGet, api.OpSet, api.OpDelete, api.OpIncrement, api.OpAppend, api.OpExpire}

// Check returns the first thing that is wrong with a batch by itself.
func Check(b api.Batch) error {
	if len(b.Commands) == 0 || len(b.Commands) > api.MaxBatchCommands {
		return api.Errorf(api.CodeBadRequest, "commands: there are %d, a batch has 1 to %d", len(b.Commands), api.MaxBatchCommands)
	}
	if b.ID != nil && (b.ID.Client == "" || len(b.ID.Client) > api.MaxClientBytes) {
		return api.Errorf(api.CodeBadRequest, "id.client: %d bytes, use 1 to %d random ones", len(b.ID.Client), api.MaxClientBytes)
	}
	size := 0
	for i := range b.Commands {
		c := &b.Commands[i]
		size += len(c.Key) + len(c.Value)
		if err := check(c); err != nil {
			if len(b.Commands) > 1 {
				err = err.With("command", strconv.Itoa(i))
			}
			return err
		}
	}
	if size > api.MaxBatchBytes {
		return api.Errorf(api.CodeTooLarge, "commands: keys and values of %d bytes, at most %d are allowed", size, api.MaxBatchBytes)
	}
	return nil
}

func check(c *api.Command) *api.Error {
	bad := func(field, format string, args ...any) *api.Error {
		return api.Errorf(api.CodeBadRequest, "%s: %s", field, fmt.Sprintf(format, args...))
	}
	if !slices.Contains(Operations, c.Op) {
		return bad("op", "%q is not known: use get, set, delete, increment, append or expire", c.Op)
	}
	switch c.If {
	case api.IfAny, api.IfAbsent, api.IfPresent, api.IfVersion:
	default:
		return bad("if", "%q is not known: use absent, present or version", c.If)
	}
	switch {
	case len(c.Key) == 0:
		return bad("key", "must not be empty")
	case len(c.Key) > api.MaxKeyBytes:
		return api.Errorf(api.CodeTooLarge, "key: %d bytes, at most %d are allowed", len(c.Key), api.MaxKeyBytes)
	case len(c.Value) > api.MaxValueBytes:
		return api.Errorf(api.CodeTooLarge, "value: %d bytes, at most %d are allowed", len(c.Value), api.MaxValueBytes)
	case c.TTL < 0 || c.TTL > api.MaxTTL:
		return bad("ttl_ms", "%d is out of range: use 1 to %d, or 0 for ever", c.TTL, int64(api.MaxTTL))
	case c.TTL != 0 && c.KeepTTL:
		return bad("keep_ttl", "it contradicts ttl_ms: give one of the two")
	case c.If == api.IfVersion && c.Version == "":
		return bad("version", "must not be empty with the condition on it")
	case c.If != api.IfVersion && c.Version != "":
		return bad("version", "it is only compared with if: version")
	}
	return nil
}
