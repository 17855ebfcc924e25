package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// announceRequest says where a node is that has no lease: it has started, or
// was cut off, and the others may have moved as well.
type announceRequest struct {
	ClusterUUID string       `json:"cluster_uuid"`
	From        announcement `json:"from"`
	// Relayed is set by a node that passes the announcement on to the leader.
	Relayed bool `json:"relayed,omitempty"`
}

// announceResponse has what the other node knows of all of them.
type announceResponse struct {
	Code    code           `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	Known   []announcement `json:"known,omitempty"`
}

const (
	announceTimeout  = 2 * time.Second
	minAnnounceDelay = 50 * time.Millisecond
	maxAnnounceDelay = time.Second
)

// announce tells the others where this node is whenever it holds no lease, and
// learns from them where they are, until the node is out of the cluster. What it
// is told stays in memory, beside the map: the map is corrected when the node
// has found the leader and registers.
func (ck *ClusterKit) announce() {
	said := newRepetitions()
	for delay := minAnnounceDelay; ck.inCluster.Err() == nil; delay = min(2*delay, maxAnnounceDelay) {
		if ck.HoldsLease() || ck.dir.identity().ClusterUUID == "" {
			delay = minAnnounceDelay
			sleep(ck.inCluster, maxAnnounceDelay)
			continue
		}
		for _, err := range ck.announceOnce(ck.inCluster) {
			switch {
			case ck.inCluster.Err() != nil:
				return
			case errors.Is(err, ErrJoinRefused):
				ck.fail(err)
				return
			case errors.Is(err, errAnotherCluster) && !said.lately(err.Error()):
				ck.log.Warn("JoinAddr leads to another cluster", "error", err)
			case err != nil:
				ck.log.Debug("not announced", "error", err)
			}
		}
		sleep(ck.inCluster, delay)
	}
}

// announceOnce tells all whom this node knows to ask, at the same time: JoinAddr
// by HTTP, and the voters on their own streams, since one of those leads or is
// to be elected. It returns when all have answered or failed.
func (ck *ClusterKit) announceOnce(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	request := announceRequest{ClusterUUID: ck.dir.identity().ClusterUUID, From: ck.announcement()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	tell := func(whom string, call func(*announceResponse) error) {
		wg.Go(func() {
			var answer announceResponse
			err := call(&answer)
			if err == nil {
				err = errorOf(answer.Code, answer.Message)
			}
			for _, a := range answer.Known {
				ck.book.hear(a)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: %w", whom, err))
			}
		})
	}
	for _, addr := range ck.candidates(ctx) {
		tell(addr, func(answer *announceResponse) error {
			return askNode(ctx, ck.http, addr, pathAnnounceHTTP, request, answer)
		})
	}
	for _, s := range ck.book.servers() {
		if s.Suffrage == raft.Voter && string(s.ID) != request.From.Server {
			tell(string(s.ID), func(answer *announceResponse) error {
				peer, err := ck.book.ServerAddr(s.ID)
				if err != nil {
					return err
				}
				return ck.net.client.call(ctx, string(peer), pathAnnounce, request, answer)
			})
		}
	}
	wg.Wait()
	return errs
}

// announcement is this node's own.
func (ck *ClusterKit) announcement() announcement {
	id := ck.dir.identity()
	return announcement{Server: ck.serverID(), Incarnation: id.Incarnation, Starts: id.Starts, RaftAddr: ck.self.Load().RaftAddr}
}

// heardFrom takes in the announcement of another node of the cluster, passes it
// on to the leader if there is one, and answers with what is known here. The
// error matches ErrJoinRefused if that node was removed.
func (ck *ClusterKit) heardFrom(ctx context.Context, req announceRequest) (announceResponse, error) {
	own := ck.dir.identity().ClusterUUID
	server := raft.ServerID(req.From.Server)
	switch {
	case own == "":
		return announceResponse{}, noClusterError{}
	case req.ClusterUUID != own:
		return announceResponse{}, fmt.Errorf("%w: this node belongs to cluster %s, not %s", errAnotherCluster, own, req.ClusterUUID)
	case !req.From.isUsable():
		return announceResponse{}, fmt.Errorf("%w: server and raft_addr are required", errBadRequest)
	case ck.book.raft.Load() == nil || ck.stopping.Load():
		return announceResponse{}, fmt.Errorf("%w: this node is not running", ErrNoLeader)
	}
	if m := ck.Map(); m != nil && m.wasRemoved(server) && !ck.book.votes(server) {
		return announceResponse{}, errRemoved(server)
	}
	ck.book.hear(req.From)
	if leader, err := ck.proposer.leader(); err == nil && !req.Relayed {
		if id, _ := splitPeerAddr(leader); id != req.From.Server {
			req.Relayed = true
			var answer announceResponse
			if err := ck.net.client.call(ctx, leader, pathAnnounce, req, &answer); err != nil {
				ck.log.Debug("an announcement was not passed on", "error", err)
			}
			if err := errorOf(answer.Code, answer.Message); errors.Is(err, ErrJoinRefused) {
				return announceResponse{}, err
			}
			for _, a := range answer.Known {
				ck.book.hear(a)
			}
		}
	}
	return announceResponse{Known: append(ck.book.known(), ck.announcement())}, nil
}

func errRemoved(id raft.ServerID) error {
	return fmt.Errorf("%w: %s was removed from the cluster: start the node with an empty DataDir to let it join again", ErrJoinRefused, id)
}
