package api

// Op names what a [Command] does.
type Op string

// The operations.
const (
	// OpGet reads the key.
	OpGet Op = "get"
	// OpSet gives the key a value.
	OpSet Op = "set"
	// OpDelete removes the key; that it is absent is no error.
	OpDelete Op = "delete"
	// OpIncrement adds Delta to the number that the value is in decimal; an
	// absent key counts as 0.
	OpIncrement Op = "increment"
	// OpAppend appends Value to the value; an absent key counts as empty.
	OpAppend Op = "append"
	// OpExpire changes when the key expires and leaves the value: after TTL, or
	// never if that is 0. Of an absent key it does nothing.
	OpExpire Op = "expire"
)

// Condition says on what a [Command] depends. If it is not met, nothing of the
// whole batch is executed, and the error has [CodeConditionFailed].
type Condition string

// The conditions.
const (
	// IfAny is no condition.
	IfAny Condition = ""
	// IfAbsent wants no value, IfPresent any.
	IfAbsent  Condition = "absent"
	IfPresent Condition = "present"
	// IfVersion wants the value of that Version.
	IfVersion Condition = "version"
)

// Command is one operation on a key. A batch of commands, all with keys of one
// partition, is executed as a whole or not at all, each command seeing what
// those before it have done.
type Command struct {
	Op    Op     `json:"op"`
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
	// Delta belongs to OpIncrement.
	Delta int64 `json:"delta,omitempty"`
	// TTL is in milliseconds from the execution; 0 is for ever. It belongs to
	// OpSet and OpExpire; OpIncrement and OpAppend leave the expiry as it is.
	TTL int64 `json:"ttl_ms,omitempty"`
	// KeepTTL makes OpSet leave the expiry as it is.
	KeepTTL bool      `json:"keep_ttl,omitempty"`
	If      Condition `json:"if,omitempty"`
	// Version belongs to IfVersion.
	Version string `json:"version,omitempty"`
	// Report asks for what the key had before: Found, and Value of a set or
	// delete. Without it the answer to these leaves both out, which is cheaper.
	Report bool `json:"report,omitempty"`
}

// Result is the answer to one command.
type Result struct {
	// Found reports whether the key had a value before the command.
	Found bool `json:"found,omitempty"`
	// Value is the value of a get, the new one of an append or increment, and
	// the one before of a set or delete with Report.
	Value []byte `json:"value,omitempty"`
	// Number is the result of an increment.
	Number int64 `json:"number,omitempty"`
	// Version is that of the value as the command has left it, "" if there is
	// none.
	Version string `json:"version,omitempty"`
	// TTL is what is left of the value's time in milliseconds, 0 for ever. It is
	// given for a get.
	TTL int64 `json:"ttl_ms,omitempty"`
}

// RequestID makes a batch safe to be sent again: while the cluster remembers
// it, for [RememberedFor] at least, a repetition is answered as the first was
// and not executed. Client is random and as long as an identity of its own;
// Seq numbers its batches.
type RequestID struct {
	Client string `json:"client"`
	Seq    uint64 `json:"seq"`
}

// Batch is the body of a request to [PathBatch].
type Batch struct {
	ID       *RequestID `json:"id,omitempty"`
	Commands []Command  `json:"commands"`
}

// Keys is the body of a request to [PathMGet]: 1 to [MaxBatchCommands] keys. Its
// answer is a [BatchAnswer], as to gets of them. Each is answered linearizably,
// but not all as of one instant.
type Keys struct {
	Keys [][]byte `json:"keys"`
}

// BatchAnswer is the body of its answer: one result for each command.
type BatchAnswer struct {
	Results []Result `json:"results"`
}

// ScanItem is a key with its value.
type ScanItem struct {
	Key     []byte `json:"key"`
	Value   []byte `json:"value"`
	Version string `json:"version"`
	// TTL is what was left of the value's time in milliseconds when the snapshot
	// was taken, 0 for ever.
	TTL int64 `json:"ttl_ms,omitempty"`
}

// ScanAnswer is a page of a scan: items of one partition, in order of their
// keys, byte by byte.
type ScanAnswer struct {
	Items []ScanItem `json:"items"`
	// Cursor is for the next page, "" if there is none. It means something to the
	// cluster only.
	Cursor string `json:"cursor,omitempty"`
	// Partition is the number of the partition, and Snapshot the name of the
	// snapshot that the items are of. All pages with the same show one state.
	Partition int    `json:"partition"`
	Snapshot  string `json:"snapshot"`
}
