package partition

// Kind is the kind of a [Message].
type Kind uint8

// The kinds of messages.
const (
	// Append carries entries, or nothing but the commit mark, from the
	// primary. It is answered by AppendReply.
	Append Kind = iota + 1
	AppendReply
	// Confirm asks whether the epoch is still the highest that the replica
	// has taken part in. It is answered by ConfirmReply.
	Confirm
	ConfirmReply
	// Behind tells a replica that the primary no longer has the entries that
	// it lacks: it has to fetch a snapshot.
	Behind
)

// Status is the verdict of an answer.
type Status uint8

const (
	// OK is an agreement: Durable says how much is on disk, or the epoch is confirmed.
	OK Status = iota
	// Stale is the answer of a replica that has taken part in the higher Epoch of the answer.
	Stale
	// Mismatch is the answer of a replica whose log does not have the entry
	// Prev; Hint is the highest position at which it may agree.
	Mismatch
	// NotMember is the answer of a replica that is not, or not yet, the member
	// addressed, or is about to get another copy. It says no more than that the
	// replica is reached.
	NotMember
)

// Message goes between two replicas of the same partition.
type Message struct {
	Kind     Kind
	Status   Status
	From, To Member
	// Epoch is the primary's in requests and in answers that are OK or
	// Mismatch, the replica's promise in answers that are Stale.
	Epoch uint64
	// Prev is the position before Entries; in a Mismatch, that of the
	// request.
	Prev    Position
	Entries []Entry
	// Commit is the sender's commit mark, in an Append and in an answer to one.
	Commit uint64
	// Durable is the LSN through which the replica's log is on disk and equal
	// to that of the primary of Epoch.
	Durable uint64
	// Hint belongs to Mismatch.
	Hint Position
	// Round numbers confirmations within an epoch.
	Round uint64
}
