package api

// PathPartitions is followed by the ID of a partition and [Verify]: POST
// compares its copies and answers with a [Verification]. Any node takes it.
const (
	PathPartitions = "/v1/partitions/"
	Verify         = "/verify"
)

// Verification is the outcome of a comparison of all in-sync copies of a
// partition, behind one entry of its log.
type Verification struct {
	Partition string `json:"partition"`
	// Position is that entry, as "epoch.lsn".
	Position string `json:"position"`
	// OK is true when every copy is [CopyOK].
	OK     bool           `json:"ok"`
	Copies []VerifiedCopy `json:"copies"`
}

// VerifiedCopy is one copy.
type VerifiedCopy struct {
	Node    string    `json:"node"`
	Primary bool      `json:"primary,omitempty"`
	State   CopyState `json:"state"`
	// Items and Digest are what the copy holds at the position.
	Items  uint64 `json:"items"`
	Digest string `json:"digest,omitempty"`
	// Bytes were read from the disk.
	Bytes uint64 `json:"bytes"`
	// Remade: the copy is being made anew from the others.
	Remade bool   `json:"remade,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// CopyState is the verdict on a copy.
type CopyState string

const (
	// CopyOK says that what is on the disk is what was written, and what the primary has.
	CopyOK CopyState = "ok"
	// CopyDiffers says that it is what was written, and not what the primary has.
	CopyDiffers CopyState = "differs"
	// CopyDamaged says that it is not what was written.
	CopyDamaged CopyState = "damaged"
	// CopyNotReachable says that nothing is known.
	CopyNotReachable CopyState = "not reachable"
)
