package kvstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
)

func partitionName(id uint32) string { return fmt.Sprintf("partition-%d", id) }

// moving reports whether this node takes or gives snapshots.
func (n *Node) moving() bool { return n.migrations.active() > 0 || n.pins.count() > 0 }

// Migrations returns the copies that are made on this node, and what it gives
// to others.
func (n *Node) Migrations() api.Migrations {
	g := n.storage.Garbage()
	out := api.Migrations{
		Node: n.self.Node, Throttle: n.pace.state(), Migrations: []api.Migration{}, Giving: n.pins.giving(),
		Garbage: api.Garbage{Copies: g.Generations, DeletedKeys: g.Deleted, Reclaims: g.Reclaims},
	}
	if m := n.cluster.Map(); m != nil {
		out.Paused = m.Paused
	}
	open := n.migrations.all()
	slices.SortFunc(open, func(a, b *copying) int { return cmp.Compare(a.partition, b.partition) })
	for _, c := range open {
		out.Migrations = append(out.Migrations, c.state())
	}
	slices.SortFunc(out.Giving, func(a, b api.Giving) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.To, b.To))
	})
	return out
}

// Throttle changes what copies may take on all nodes of the cluster. What the
// change leaves out stays as it is.
func (n *Node) Throttle(ctx context.Context, change api.Throttle) error {
	if err := migration.Check(change); err != nil {
		return api.Errorf(api.CodeBadRequest, "%v", err)
	}
	m := n.cluster.Map()
	if m == nil {
		return api.Errorf(api.CodeUnavailable, "this node has no cluster map yet: ask another, or try again")
	}
	// What cannot be read is replaced.
	before, _ := migration.Decode([]byte(m.Metadata[migration.MetadataKey]))
	value, err := json.Marshal(migration.Merge(before, change))
	if err != nil {
		return err
	}
	return metadataError(n.cluster.SetMetadata(ctx, migration.MetadataKey, string(value)))
}

// ResetThrottle leaves what copies may take to the settings of each node.
func (n *Node) ResetThrottle(ctx context.Context) error {
	return metadataError(n.cluster.DeleteMetadata(ctx, migration.MetadataKey))
}

// metadataError puts an error of the control plane into the terms of the API.
func metadataError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, clusterkit.ErrUnknown):
		return api.Errorf(api.CodeOutcomeUnknown, "the throttle may have been changed, or may yet be: %v", err)
	case errors.Is(err, clusterkit.ErrRefused):
		return api.Errorf(api.CodeConflict, "%v", err)
	default:
		return api.Errorf(api.CodeUnavailable, "nothing was changed: %v", err)
	}
}
