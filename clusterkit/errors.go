package clusterkit

import (
	"errors"
	"fmt"
	"strings"
)

// Returned by [NewClusterKit] and [ClusterKit.Start], and by
// [ClusterKit.Err] when the cluster turned this node away.
var (
	// ErrOptions is returned when a field of [Options] or [Config] cannot be
	// used; the message names the field and the fix.
	ErrOptions = errors.New("invalid option")
	// ErrNoCluster is returned when a node without data was told neither to
	// bootstrap a cluster nor whom to join.
	ErrNoCluster = errors.New("no cluster to be part of")
	// ErrDataDir is returned when the data directory belongs to another node
	// or cluster, is in use by another process, or cannot be used.
	ErrDataDir = errors.New("data directory cannot be used")
	// ErrJoinRefused is returned when the cluster refused this node for good:
	// another cluster name, a contradicting partition count or hash, or a node
	// ID that another live node uses.
	ErrJoinRefused = errors.New("join refused")
)

// Returned by lookups.
var (
	// ErrNotReady is returned while this node has no map yet.
	ErrNotReady = errors.New("no cluster map yet: this node has not joined or the first assignment is not made")
)

// Returned by changes of the cluster: [ClusterKit.Drain] and its like.
var (
	// ErrRefused is definite: the change would do harm, or names what is not
	// there. The message says what is missing.
	ErrRefused = errors.New("refused")
	// ErrNoNode is an ErrRefused: the cluster has no node of that ID.
	ErrNoNode error = refusal("no such node")
	// ErrNoPartition is an ErrRefused: the cluster has no such partition.
	ErrNoPartition error = refusal("no such partition")
	// ErrDraining is returned by [ClusterKit.Decommission] and
	// [ClusterKit.Leave] when the context ended before the node was removed, or
	// no leader could be reached. The node is drained, which goes on, and the
	// call may be repeated.
	ErrDraining = errors.New("the drain goes on")
	// ErrLeft is why [ClusterKit.Done] is closed on a node that has left its
	// cluster by [ClusterKit.Leave] or POST /cluster/leave, or that was taken out
	// of it while it ran; then the error also matches [ErrJoinRefused].
	ErrLeft = errors.New("this node has left the cluster")
)

// refusal is a kind of [ErrRefused].
type refusal string

func (r refusal) Error() string { return string(r) }

func (refusal) Is(target error) bool { return target == ErrRefused }

// Returned by every method that changes the cluster.
var (
	// ErrStale is definite: the change was not and will not be made, because
	// it was based on another epoch or version than the committed one, or asks
	// for something the state machine never allows.
	ErrStale = errors.New("stale proposal")
	// ErrUnknown is returned when the change may or may not have been made, or
	// may yet be. Every proposal is a compare-and-set: it may be repeated, and
	// the map shows what happened.
	ErrUnknown = errors.New("outcome of the proposal is unknown")
	// ErrNoLeader is definite: no leader could be reached, and nothing was
	// proposed.
	ErrNoLeader = errors.New("no leader of the control plane can be reached")
	// ErrStopped is returned after [ClusterKit.Stop].
	ErrStopped = errors.New("clusterkit is stopped")
)

// code is the stable name of an outcome on the wire and in the state machine.
type code string

const (
	codeOK          code = ""
	codeStale       code = "stale"
	codeUnknown     code = "unknown"
	codeNoLeader    code = "no_leader"
	codeNoCluster   code = "no_cluster"
	codeConflict    code = "node_id_in_use"
	codeIncarnation code = "stale_incarnation"
	codeRefused     code = "join_refused"
	// codeRefusedChange stands for [ErrRefused].
	codeRefusedChange code = "refused"
	codeBadRequest    code = "bad_request"
	codeElsewhere     code = "another_cluster"
	codeNoNode        code = "unknown_node"
	codeNoPartition   code = "unknown_partition"
)

// Codes that only an answer of the HTTP API has.
const (
	codeForbidden code = "forbidden"
	codeNotFound  code = "not_found"
	codeMethod    code = "method_not_allowed"
	codeTooLarge  code = "too_large"
	codeNotReady  code = "not_ready"
	codeStopped   code = "stopped"
)

// errorOf is the only place where a code becomes an error.
func errorOf(c code, message string) error {
	sentinel := map[code]error{
		codeStale:         ErrStale,
		codeUnknown:       ErrUnknown,
		codeNoLeader:      ErrNoLeader,
		codeNoCluster:     ErrNotReady,
		codeConflict:      errNodeIDInUse,
		codeIncarnation:   errStaleIncarnation,
		codeRefused:       ErrJoinRefused,
		codeRefusedChange: ErrRefused,
		codeBadRequest:    errBadRequest,
		codeElsewhere:     errAnotherCluster,
		codeNoNode:        ErrNoNode,
		codeNoPartition:   ErrNoPartition,
	}[c]
	switch {
	case c == codeOK:
		return nil
	case sentinel == nil:
		return fmt.Errorf("%w: %s: %s", ErrUnknown, c, message)
	case message == "":
		return sentinel
	default:
		// The message of an error that crossed the wire begins with it.
		return fmt.Errorf("%w: %s", sentinel, strings.TrimPrefix(message, sentinel.Error()+": "))
	}
}

// codeOf is its inverse, for an error that has to cross the wire. An error
// without a code of its own reads as an unknown outcome.
func codeOf(err error) code {
	switch {
	case err == nil:
		return codeOK
	case errors.Is(err, ErrStale):
		return codeStale
	case errors.Is(err, ErrNoLeader):
		return codeNoLeader
	case errors.Is(err, ErrNotReady):
		return codeNoCluster
	case errors.Is(err, errNodeIDInUse):
		return codeConflict
	case errors.Is(err, errStaleIncarnation):
		return codeIncarnation
	case errors.Is(err, ErrJoinRefused):
		return codeRefused
	case errors.Is(err, errBadRequest):
		return codeBadRequest
	case errors.Is(err, errAnotherCluster):
		return codeElsewhere
	case errors.Is(err, ErrNoNode):
		return codeNoNode
	case errors.Is(err, ErrNoPartition):
		return codeNoPartition
	case errors.Is(err, ErrRefused):
		return codeRefusedChange
	default:
		return codeUnknown
	}
}

// Outcomes that stay inside the package.
var (
	errNodeIDInUse      = errors.New("node ID in use by another live store")
	errStaleIncarnation = errors.New("stale incarnation")
	errAnotherCluster   = errors.New("another cluster")
	// errBadRequest names a value that can never be used; it is an ErrRefused.
	errBadRequest error = refusal("bad request")
)
