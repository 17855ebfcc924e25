package clusterkit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// joinRequest asks to be let into the cluster. Fields that want nothing of the
// cluster are zero.
type joinRequest struct {
	// Protocol is the version that the node speaks.
	Protocol int    `json:"protocol"`
	NodeID   string `json:"node_id"`
	// Store is that of the data directory.
	Store          string `json:"store"`
	RaftAddr       string `json:"raft_addr"`
	HTTPAddr       string `json:"http_addr"`
	ClusterName    string `json:"cluster_name,omitempty"`
	PartitionCount int    `json:"partition_count,omitempty"`
	Hash           string `json:"hash,omitempty"`
	// ClusterUUID is set by a node that has been let in before.
	ClusterUUID string `json:"cluster_uuid,omitempty"`
	// Bootstrap is set by a node that may found a cluster if it finds none.
	Bootstrap bool `json:"bootstrap,omitempty"`
}

type joinResponse struct {
	Code        code   `json:"code,omitempty"`
	Message     string `json:"message,omitempty"`
	ClusterUUID string `json:"cluster_uuid,omitempty"`
	Config      Config `json:"config,omitzero"`
	// Lease is the cluster's LeaseDuration, beside codeConflict.
	Lease time.Duration `json:"lease_ns,omitempty"`
}

// err returns the refusal, nil if the node was let in.
func (r joinResponse) err() error {
	if r.Code == codeConflict {
		return nodeIDInUse{reason: r.Message, lease: r.Lease}
	}
	return errorOf(r.Code, r.Message)
}

// refusedJoin is the answer that carries the error over the wire.
func refusedJoin(err error) joinResponse {
	refusal, _ := errors.AsType[nodeIDInUse](err)
	return joinResponse{Code: codeOf(err), Message: err.Error(), Lease: refusal.lease}
}

const (
	pathJoinHTTP     = "/cluster/join"
	pathAnnounceHTTP = "/cluster/announce"

	joinTimeout = 5 * time.Second
	// firstContact is how long a node that was let in waits for the leader
	// before it asks again.
	firstContact = 5 * time.Second

	minJoinDelay = 50 * time.Millisecond
	maxJoinDelay = time.Second
)

// refusal returns why the cluster cannot let the node in, nil if it can.
func (r joinRequest) refusal(m *Map) error {
	if !nodeIDPattern.MatchString(r.NodeID) || r.Store == "" || r.RaftAddr == "" {
		return fmt.Errorf("%w: node_id, store and raft_addr are required", errBadRequest)
	}
	if r.Protocol != streamVersion {
		return fmt.Errorf("%w: the node speaks protocol version %d, the cluster %d: run the same version of clusterkit on all nodes", ErrJoinRefused, r.Protocol, streamVersion)
	}
	wanted := Config{ClusterName: r.ClusterName, PartitionCount: r.PartitionCount, Hash: r.Hash}
	if reason := wanted.contradiction(m.Config); reason != "" {
		return fmt.Errorf("%w: %s", ErrJoinRefused, reason)
	}
	if id := raft.ServerID(serverID(r.NodeID, r.Store)); m.wasRemoved(id) {
		return errRemoved(id)
	}
	if r.ClusterUUID != "" && r.ClusterUUID != m.ClusterUUID {
		return fmt.Errorf("%w: DataDir belongs to cluster %s, but JoinAddr leads to cluster %s: correct one of the two", ErrJoinRefused, r.ClusterUUID, m.ClusterUUID)
	}
	if n := m.Node(r.NodeID); n != nil && n.Alive && n.RaftID != serverID(r.NodeID, r.Store) {
		return nodeIDInUse{
			reason: fmt.Sprintf("NodeID %q is used by a live node at %s: give this node another ID", n.ID, n.RaftAddr),
			lease:  m.Config.LeaseDuration,
		}
	}
	for i := range m.Nodes {
		if reason := r.unreachable(&m.Nodes[i]); reason != "" {
			return fmt.Errorf("%w: %s", ErrJoinRefused, reason)
		}
	}
	return nil
}

// unreachable returns why the node and that one could not reach each other, ""
// if that cannot be told: only one of the two is on loopback.
func (r joinRequest) unreachable(n *Node) string {
	for _, addr := range []struct{ field, own, other string }{
		{"RaftAddr", r.RaftAddr, n.RaftAddr},
		{"HTTPAddr", r.HTTPAddr, n.IP},
	} {
		own, other := isLoopback(addr.own), isLoopback(addr.other)
		switch {
		case n.ID == r.NodeID || addr.own == "" || own == other:
		case own:
			return fmt.Sprintf("%s: %s is a loopback address, which %s at %s cannot reach: set AdvertiseAddr to this host's name or address", addr.field, addr.own, n.ID, addr.other)
		default:
			return fmt.Sprintf("%s: %s advertises the loopback address %s, which this node at %s cannot reach: set AdvertiseAddr on %s first", addr.field, n.ID, addr.other, addr.own, n.ID)
		}
	}
	return ""
}

// admit lets the node in, as the leader: Raft replicates to it from now on.
// It may be repeated.
func (c *controller) admit(ctx context.Context, req joinRequest) (joinResponse, error) {
	if c.keeper.Load() == nil {
		return joinResponse{}, fmt.Errorf("%w: this node does not lead", ErrNoLeader)
	}
	m := c.state.Map()
	if err := req.refusal(m); err != nil {
		return joinResponse{}, err
	}
	admitted := joinResponse{ClusterUUID: m.ClusterUUID, Config: m.Config}
	id := raft.ServerID(serverID(req.NodeID, req.Store))
	addr := raft.ServerAddress(peerAddr(string(id), req.RaftAddr))
	if slices.ContainsFunc(c.book.servers(), func(s raft.Server) bool { return s.ID == id }) {
		// Where it is now, if it has moved since, it announces.
		return admitted, nil
	}
	added := make(chan error, 1)
	if !c.proposer.use.run(func() { added <- c.raft.AddNonvoter(id, addr, 0, serverChangeTimeout).Error() }) {
		return joinResponse{}, fmt.Errorf("%w: %w", ErrNoLeader, ErrStopped)
	}
	select {
	case err := <-added:
		if err != nil {
			return joinResponse{}, raftError(err)
		}
		return admitted, nil
	case <-ctx.Done():
		return joinResponse{}, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// joiner asks the cluster to let this node in.
type joiner struct {
	http    *http.Client
	addrs   []string
	request joinRequest
}

// attempt asks one address after the other until a cluster lets this node in
// or refuses it: the error then matches ErrJoinRefused or errNodeIDInUse.
// Otherwise it is a notLetIn.
func (j *joiner) attempt(ctx context.Context) (joinResponse, error) {
	failed := notLetIn{addrs: j.addrs}
	for _, addr := range j.addrs {
		resp, err := j.ask(ctx, addr)
		if err == nil || errors.Is(err, ErrJoinRefused) || errors.Is(err, errNodeIDInUse) {
			return resp, err
		}
		failed.reasons = append(failed.reasons, err)
	}
	return joinResponse{}, failed
}

// notLetIn says why no cluster was found at any of the addresses: one reason
// for each.
type notLetIn struct {
	addrs   []string
	reasons []error
}

func (e notLetIn) Error() string {
	reasons := make([]string, len(e.reasons))
	for i, reason := range e.reasons {
		reasons[i] = fmt.Sprintf("%s: %v", e.addrs[i], reason)
	}
	return "no cluster at JoinAddr: " + strings.Join(reasons, "; ")
}

func (j *joiner) ask(ctx context.Context, addr string) (joinResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	var answer joinResponse
	if err := askNode(ctx, j.http, addr, pathJoinHTTP, j.request, &answer); err != nil {
		return answer, err
	}
	if answer.ClusterUUID == "" {
		return answer, errors.New("answered without a cluster: is it the HTTP address of a node?")
	}
	return answer, nil
}

// askNode posts the request to the HTTP API of a node and decodes its answer.
func askNode(ctx context.Context, client *http.Client, addr, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	decoder := json.NewDecoder(io.LimitReader(resp.Body, maxControlBody))
	if resp.StatusCode != http.StatusOK {
		var refused errorBody
		if err := decoder.Decode(&refused); err != nil || refused.Error.Code == "" {
			return fmt.Errorf("answered %s: is it the HTTP address of a node?", resp.Status)
		}
		switch refused.Error.Code {
		case codeNoCluster:
			return noClusterError{founder: refused.Error.Founder}
		case codeConflict:
			return nodeIDInUse{reason: refused.Error.Message, lease: refused.Error.Lease}
		default:
			return errorOf(refused.Error.Code, refused.Error.Message)
		}
	}
	if err := decoder.Decode(answer); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

func (ck *ClusterKit) joiner(ctx context.Context) *joiner {
	self := ck.Self()
	return &joiner{
		http:  ck.http,
		addrs: ck.candidates(ctx),
		request: joinRequest{
			Protocol: streamVersion,
			NodeID:   self.ID, Store: ck.dir.identity().Store, RaftAddr: self.RaftAddr, HTTPAddr: self.IP,
			ClusterName: ck.opts.wanted.ClusterName, PartitionCount: ck.opts.wanted.PartitionCount, Hash: ck.opts.wanted.Hash,
			ClusterUUID: ck.dir.identity().ClusterUUID, Bootstrap: ck.founder.candidate(),
		},
	}
}

// join asks to be let in until this node has registered, or has founded the
// cluster after all.
func (ck *ClusterKit) join() {
	var inUse conflict
	told := ""
	for delay := minJoinDelay; ck.ctx.Err() == nil && !ck.registered(); delay = min(2*delay, maxJoinDelay) {
		founded, err := ck.enter(ck.ctx)
		refusal, _ := errors.AsType[nodeIDInUse](err)
		outlasted := inUse.outlasts(err, cmp.Or(refusal.lease, DefaultLeaseDuration))
		switch {
		case ck.ctx.Err() != nil, errors.Is(err, ErrStopped), founded:
			return
		case err == nil:
			ctx, cancel := context.WithTimeout(ck.ctx, firstContact)
			for range ck.Watch(ctx) {
				if ck.registered() {
					break
				}
			}
			cancel()
			continue
		case errors.Is(err, ErrJoinRefused), errors.Is(err, ErrDataDir):
			ck.fail(err)
			return
		case outlasted:
			ck.fail(fmt.Errorf("%w: %w", ErrJoinRefused, err))
			return
		}
		if told != err.Error() {
			told = err.Error()
			ck.log.Info("not joined yet, trying again", "error", err)
		}
		sleep(ck.ctx, delay)
	}
}

// registered reports whether this node's present session is open.
func (ck *ClusterKit) registered() bool {
	m := ck.Map()
	return m != nil && ck.joined(m)
}

// adopt records the cluster that let this node in.
func (ck *ClusterKit) adopt(resp joinResponse) error {
	ck.log.Info("let into the cluster", "name", resp.Config.ClusterName, "cluster", resp.ClusterUUID)
	return ck.dir.update(func(id *identity) { id.ClusterUUID, id.Config = resp.ClusterUUID, &resp.Config })
}

// awaitMap returns when this node has a map, or the context or the node has
// ended.
func (ck *ClusterKit) awaitMap(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	<-ck.Watch(ctx)
}
