package clusterkit

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftTransport carries Raft's messages over the streams. The transport is
// embedded and not kept in a field: Raft looks for its optional methods, and
// would turn pre-vote off if it did not find them.
type raftTransport struct {
	*raft.NetworkTransport
	streams *streams
	// replicates reports whether this node, as the leader of the term, still
	// replicates to the server.
	replicates func(id raft.ServerID, term uint64) bool
	// stalled reports whether this node's disk does not answer. It then must
	// not keep the followers from electing another leader.
	stalled func() bool
}

var errDiskStalled = errors.New("this node's disk does not answer")

func newRaftTransport(s *streams, addresses raft.ServerAddressProvider, timeout time.Duration, log hclog.Logger) *raftTransport {
	return &raftTransport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			ServerAddressProvider: addresses,
			Logger:                log,
			Stream:                raftStream{s.raft},
			MaxPool:               3,
			Timeout:               timeout,
		}),
		streams: s,
	}
}

// SetHeartbeatHandler does nothing. Raft's fast path for heartbeats changes
// the term outside of its main goroutine, and logs can diverge
// (hashicorp/raft issue 695); without a handler they take the ordinary way.
func (*raftTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries waits while the peer cannot be reached, or this node's own disk
// does not answer. An error would make Raft back off, in the end for ten
// seconds, and a node that returns would stand aside for as long.
func (t *raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	for delay := redialDelay; ; delay = min(2*delay, maxRedialDelay) {
		err := errDiskStalled
		if !t.stalled() {
			err = t.NetworkTransport.AppendEntries(id, target, args, resp)
		}
		repeats := errors.Is(err, errDiskStalled) || errors.As(err, new(unreachableError))
		if !repeats || isHeartbeat(args) || !t.replicates(id, args.Term) {
			return err
		}
		select {
		case <-t.streams.ctx.Done():
			return err
		case <-time.After(delay):
		}
	}
}

// AppendEntriesPipeline returns a pipeline that breaks when the disk stalls.
func (t *raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return watchedPipeline{p, t.stalled}, nil
}

type watchedPipeline struct {
	raft.AppendPipeline
	stalled func() bool
}

func (p watchedPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if p.stalled() {
		return nil, errDiskStalled
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// isHeartbeat tells Raft's heartbeats from its replication as Raft does.
func isHeartbeat(args *raft.AppendEntriesRequest) bool {
	return args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
}

// raftStream is the stream layer that Raft's transport asks for.
type raftStream struct{ *acceptQueue }

func (r raftStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.streams.ctx, timeout)
	defer cancel()
	return r.streams.dial(ctx, string(address), streamRaft)
}
