package client

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// identity numbers the writes of one client.
type identity struct {
	client string
	policy RequestIDs
	seq    *atomic.Uint64
}

func newIdentity(policy RequestIDs) identity {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // it never fails
	return identity{hex.EncodeToString(random), policy, new(atomic.Uint64)}
}

func (i identity) next() *api.RequestID {
	return &api.RequestID{Client: i.client, Seq: i.seq.Add(1)}
}

// plain returns the ID of a write whose repetition does not show.
func (i identity) plain() *api.RequestID {
	if i.policy == OnAllWrites {
		return i.next()
	}
	return nil
}

// of returns the ID for a batch, nil for none.
func (i identity) of(commands []api.Command) *api.RequestID {
	switch {
	case !slices.ContainsFunc(commands, writes) || i.policy == OnNoWrite:
		return nil
	case slices.ContainsFunc(commands, repetitionShows):
		return i.next()
	default:
		return i.plain()
	}
}

func writes(c api.Command) bool { return c.Op != api.OpGet }

func repetitionShows(c api.Command) bool {
	return c.Op == api.OpIncrement || c.Op == api.OpAppend || writes(c) && (c.If != api.IfAny || c.Report)
}
