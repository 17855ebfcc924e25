package partition

// Position names an entry of the log, or the point behind it. Positions of
// one partition with the same epoch and LSN name the same entry, and the
// same entries before it, on every replica.
type Position struct {
	Epoch, LSN uint64
}

// Entry is one record of the log. One with empty data is a mark: the no-op with
// which each primary opens its epoch, or one behind which copies are to be
// compared. Every replica remembers the digest of its data behind it.
type Entry struct {
	Epoch, LSN uint64
	Data       []byte
}

// Position returns the entry's own position.
func (e Entry) Position() Position { return Position{e.Epoch, e.LSN} }

// Member is one copy of the partition: a node, the disk it is on, and the
// assignment of the partition to that node. What was acknowledged by another
// disk or under an earlier assignment never counts for it.
type Member struct {
	Node, Store string
	Incarnation uint64
}

// View is what the control plane says of the partition.
type View struct {
	// Epoch counts primaries; Version every change of the partition.
	Epoch, Version uint64
	// Primary is the member that leads the epoch, zero when there is none.
	Primary Member
	// Members are all assigned copies, InSync those that hold every
	// acknowledged write.
	Members, InSync []Member
	// Absent are the members whose node has no session: the primary need not
	// find out by itself that they are silent. It may change without Version.
	Absent []Member
	// MinInSync is the number of in-sync members below which nothing is
	// committed.
	MinInSync int
}

// State is what a replica must remember across a restart beside its log.
type State struct {
	// Promise is the highest epoch that the replica has taken part in: it
	// never answers a lower one, and never leads this one after a restart.
	Promise uint64
	// Incarnation is the assignment under which the promise was given.
	Incarnation uint64
}

// Write is something to be put on disk. Writes are appended in the order in
// which they come out; [Replica.Synced] reports that one and all before it
// have been fsynced.
type Write struct {
	Seq uint64
	// State, when HasState, replaces the remembered state.
	State    State
	HasState bool
	// Reset, when HasReset, forgets the log of the partition; it goes on
	// above the position.
	Reset    Position
	HasReset bool
	// Entries have consecutive LSNs. An entry whose LSN exists already
	// truncates the log to below it first.
	Entries []Entry
}

// InSyncChange asks the control plane to replace the in-sync set if epoch
// and version are still the ones given.
type InSyncChange struct {
	Epoch, Version uint64
	InSync         []Member
}

// Transfer asks the control plane to give the next epoch to another member.
type Transfer struct {
	Epoch uint64
	To    Member
}

// Confirmed answers [Replica.Confirm].
type Confirmed struct {
	Ticket uint64
	// OK is true when the replica was still the only primary at some instant
	// after the ticket was drawn.
	OK bool
}

// Output is what the caller has to carry out, all of it, in any order except
// where a field says otherwise.
type Output struct {
	// Writes go to the log in this order.
	Writes []Write
	// Messages may be sent at once; loss, repetition and reordering are
	// allowed.
	Messages []Message
	// Ready are the peers for which [Replica.NextAppend] has something.
	Ready []Member
	// Committed are the newly committed entries, in order.
	Committed []Entry
	// Confirmed are the finished confirmations.
	Confirmed []Confirmed
	// InSync, when set, is to be proposed. It is repeated until it shows in
	// a view.
	InSync *InSyncChange
	// Transfer, when set, is to be proposed. It is repeated until a higher
	// epoch shows in a view.
	Transfer *Transfer
	// Verify are comparisons of copies that are to be made.
	Verify []Verify
	// Refused are members whose copies differ from the primary's: they are to be
	// made anew. It is repeated until they show as others in a view.
	Refused []Member
	// Snapshot, when set, asks to fetch a snapshot from that member and to
	// report it with [Replica.SnapshotLoaded] or [Replica.SnapshotFailed].
	Snapshot *Member
	// RoleChanged is true when Role or Epoch may have changed.
	RoleChanged bool
	// Fatal, when set, says that the disk contradicts the protocol. The
	// replica takes no further part; the store must not be trusted.
	Fatal error
}

// Role is the part that a replica plays.
type Role uint8

// The roles; package partition's documentation draws the transitions.
const (
	Follower Role = iota
	Activating
	Recovering
	Serving
	Relinquished
)

func (r Role) String() string {
	return [...]string{"follower", "activating", "recovering", "serving", "relinquished"}[r]
}
