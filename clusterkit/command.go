package clusterkit

import (
	"encoding/json"
	"fmt"
	"slices"
)

// command is one change of the replicated state. apply is a pure function: it
// returns the same map when nothing changes, and the same result on every node.
// The map is nil before the cluster was bootstrapped; term is the Raft term of
// the entry.
type command interface {
	kind() commandKind
	apply(m *Map, term uint64) (*Map, result)
}

// result is the verdict on a command.
type result struct {
	Code    code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Renewed has the verdict on each session of a renewCommand.
	Renewed []bool `json:"renewed,omitempty"`
	// Incarnation is the node's, of a registerCommand.
	Incarnation uint64 `json:"incarnation,omitempty"`
}

func (r result) err() error { return errorOf(r.Code, r.Message) }

func refuse(c code, format string, args ...any) result {
	return result{Code: c, Message: fmt.Sprintf(format, args...)}
}

type commandKind byte

const (
	kindBootstrap commandKind = iota + 1
	kindRegister
	kindRenew
	kindEndSession
	kindInSync
	kindTransfer
	kindDesire
	kindMoves
	kindAcknowledge
	kindDrain
	kindWeight
	kindRemove
	kindForce
	kindPause
	kindCancel
	kindReplication
	kindMetadata
	kindCopyAnew
	kindPrepareStop
	kindRelocate
)

// commandFormat stands before every encoded command. A node that meets a
// format or kind that it does not know stops rather than drift from the rest.
const commandFormat = 1

func encodeCommand(c command) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return append([]byte{commandFormat, byte(c.kind())}, body...), nil
}

func decodeCommand(data []byte) (command, error) {
	if len(data) < 2 {
		return nil, fmt.Errorf("decode command: %d bytes are too few", len(data))
	}
	if data[0] != commandFormat {
		return nil, fmt.Errorf("decode command: format %d is not known, upgrade this node", data[0])
	}
	switch kind := commandKind(data[1]); kind {
	case kindBootstrap:
		return decodeBody[bootstrapCommand](data[2:])
	case kindRegister:
		return decodeBody[registerCommand](data[2:])
	case kindRenew:
		return decodeBody[renewCommand](data[2:])
	case kindEndSession:
		return decodeBody[endSessionCommand](data[2:])
	case kindInSync:
		return decodeBody[inSyncCommand](data[2:])
	case kindTransfer:
		return decodeBody[transferCommand](data[2:])
	case kindDesire:
		return decodeBody[desireCommand](data[2:])
	case kindMoves:
		return decodeBody[movesCommand](data[2:])
	case kindAcknowledge:
		return decodeBody[acknowledgeCommand](data[2:])
	case kindDrain:
		return decodeBody[drainCommand](data[2:])
	case kindWeight:
		return decodeBody[weightCommand](data[2:])
	case kindRemove:
		return decodeBody[removeCommand](data[2:])
	case kindForce:
		return decodeBody[forceCommand](data[2:])
	case kindPause:
		return decodeBody[pauseCommand](data[2:])
	case kindCancel:
		return decodeBody[cancelCommand](data[2:])
	case kindReplication:
		return decodeBody[replicationCommand](data[2:])
	case kindMetadata:
		return decodeBody[metadataCommand](data[2:])
	case kindCopyAnew:
		return decodeBody[copyAnewCommand](data[2:])
	case kindPrepareStop:
		return decodeBody[prepareStopCommand](data[2:])
	case kindRelocate:
		return decodeBody[relocateCommand](data[2:])
	default:
		return nil, fmt.Errorf("decode command: kind %d is not known, upgrade this node", kind)
	}
}

func decodeBody[C command](body []byte) (command, error) {
	var c C
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("decode command: %w", err)
	}
	return c, nil
}

// bootstrapCommand founds the cluster. Once it has, it changes nothing.
type bootstrapCommand struct {
	ClusterUUID string `json:"cluster_uuid"`
	Config      Config `json:"config"`
}

func (bootstrapCommand) kind() commandKind { return kindBootstrap }

func (c bootstrapCommand) apply(m *Map, _ uint64) (*Map, result) {
	switch {
	case m != nil:
		return m, result{}
	case c.ClusterUUID == "" || c.Config.PartitionCount < 1:
		return nil, refuse(codeRefused, "a cluster is founded with a UUID and partitions, not with %q and %d", c.ClusterUUID, c.Config.PartitionCount)
	}
	m = &Map{Version: 1, ClusterUUID: c.ClusterUUID, Config: c.Config, Nodes: []Node{}, Partitions: make([]Partition, c.Config.PartitionCount)}
	for i := range m.Partitions {
		m.Partitions[i] = Partition{
			ID: fmt.Sprintf("partition-%d", i), Index: i,
			Members: []Member{}, InSync: []Member{}, Desired: []string{},
			Reason: "not assigned yet",
		}
	}
	return m, result{}
}

// InSyncChange asks for another in-sync set of a partition, on the condition
// that its epoch and version are still these.
type InSyncChange struct {
	Partition int      `json:"partition"`
	Epoch     uint64   `json:"epoch"`
	Version   uint64   `json:"version"`
	InSync    []Member `json:"in_sync"`
}

type inSyncCommand struct {
	InSyncChange
	// Proposer is the node that may add members if it is the primary; "" may
	// only remove.
	Proposer string `json:"proposer,omitempty"`
}

func (inSyncCommand) kind() commandKind { return kindInSync }

func (c inSyncCommand) apply(m *Map, _ uint64) (*Map, result) {
	p, bad := partitionAt(m, c.Partition)
	if p == nil {
		return m, bad
	}
	if p.Epoch != c.Epoch || p.Version != c.Version {
		return m, refuse(codeStale, "%s is at epoch %d version %d, not %d and %d", p.ID, p.Epoch, p.Version, c.Epoch, c.Version)
	}
	keepsPrimary := false
	for i, member := range c.InSync {
		if !p.IsMember(member) || slices.Contains(c.InSync[:i], member) {
			return m, refuse(codeStale, "%s has no member %s of that store and incarnation, or it is named twice", p.ID, member.Node)
		}
		if c.Proposer != p.Primary && !p.IsInSync(member) {
			return m, refuse(codeStale, "only the primary of %s can add to its in-sync set", p.ID)
		}
		keepsPrimary = keepsPrimary || member.Node == p.Primary
	}
	if !keepsPrimary {
		return m, refuse(codeStale, "the in-sync set of %s must keep its primary", p.ID)
	}
	e := newEdit(m)
	changed := e.partition(c.Partition)
	touch(changed, "in-sync set changed by the primary")
	changed.InSync = slices.Clone(c.InSync)
	// The primary may be gone by now, and a member that was added the first to
	// be there.
	e.electMissing("the primary is gone")
	return e.result(), result{}
}

// TransferRequest asks to hand the primary of a partition from one node to
// another, on the condition that its epoch is still this one.
type TransferRequest struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	// From is the primary. It must have stopped acting as such for good.
	From string `json:"from"`
	To   string `json:"to"`
}

type transferCommand struct{ TransferRequest }

func (transferCommand) kind() commandKind { return kindTransfer }

// apply elects another copy when To cannot be the primary any more: From has
// stopped already, and somebody has to serve.
func (c transferCommand) apply(m *Map, _ uint64) (*Map, result) {
	p, bad := partitionAt(m, c.Partition)
	if p == nil {
		return m, bad
	}
	if p.Epoch != c.Epoch || p.Primary != c.From {
		return m, refuse(codeStale, "%s is at epoch %d with primary %q, not %d and %q", p.ID, p.Epoch, p.Primary, c.Epoch, c.From)
	}
	e := newEdit(m)
	if !e.elect(c.Partition, c.To, "handed over by "+c.From) {
		return m, refuse(codeStale, "no in-sync copy of %s is present", p.ID)
	}
	return e.result(), result{}
}

// CopyAnewRequest asks to have a copy made anew, on the condition that the
// epoch of its partition is still this one.
type CopyAnewRequest struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	// Member is the copy. If its node is the primary, it must not have acted as
	// such in this epoch, or have stopped for good.
	Member Member `json:"member"`
}

// copyAnewCommand makes a copy whose data are damaged a learner under a new
// incarnation. The last one that is in sync and present stays: what it has is
// all there is.
type copyAnewCommand struct{ CopyAnewRequest }

func (copyAnewCommand) kind() commandKind { return kindCopyAnew }

func (c copyAnewCommand) apply(m *Map, _ uint64) (*Map, result) {
	p, bad := partitionAt(m, c.Partition)
	if p == nil {
		return m, bad
	}
	if p.Epoch != c.Epoch || !p.IsMember(c.Member) {
		return m, refuse(codeStale, "%s is at epoch %d, not %d, or has no member %s of that store and incarnation", p.ID, p.Epoch, c.Epoch, c.Member.Node)
	}
	if !slices.ContainsFunc(withoutMember(p.InSync, c.Member), m.Present) {
		return m, refuse(codeStale, "no other complete copy of %s is present", p.ID)
	}
	reason := "the copy on " + c.Member.Node + " is damaged"
	e := newEdit(m)
	e.copyAnew(c.Partition, c.Member, reason)
	if p.Primary == c.Member.Node {
		e.elect(c.Partition, p.wantedPrimary(), reason)
	}
	return e.result(), result{}
}

// acknowledgeCommand makes a learner in-sync: its hooks have copied the data.
type acknowledgeCommand struct {
	Partition int    `json:"partition"`
	Member    Member `json:"member"`
}

func (acknowledgeCommand) kind() commandKind { return kindAcknowledge }

func (c acknowledgeCommand) apply(m *Map, _ uint64) (*Map, result) {
	p, bad := partitionAt(m, c.Partition)
	switch {
	case p == nil:
		return m, bad
	case p.IsInSync(c.Member):
		return m, result{}
	case !p.IsMember(c.Member) || !m.Present(c.Member):
		return m, refuse(codeStale, "%s of that store and incarnation is not a present member of %s", c.Member.Node, p.ID)
	}
	e := newEdit(m)
	changed := e.partition(c.Partition)
	touch(changed, "copied to "+c.Member.Node)
	changed.InSync = append(slices.Clone(changed.InSync), c.Member)
	// Where all complete copies are away or lost, this one takes over.
	e.electMissing("copied to " + c.Member.Node)
	e.dropAbsentFromNewEpochs()
	return e.result(), result{}
}

// partitionAt returns the assigned partition, or nil and the refusal.
func partitionAt(m *Map, index int) (*Partition, result) {
	switch {
	case m == nil:
		return nil, refuse(codeNoCluster, "")
	case index < 0 || index >= len(m.Partitions):
		return nil, refuse(codeStale, "there is no partition %d", index)
	case !m.Partitions[index].assigned():
		return nil, refuse(codeStale, "%s is not assigned yet", m.Partitions[index].ID)
	default:
		return &m.Partitions[index], result{}
	}
}
