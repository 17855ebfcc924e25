package api

// Paths of the migrations of one node.
const (
	// PathMigrations answers GET with [Migrations]: the copies that the node
	// that is asked makes, and what it gives to others.
	PathMigrations = "/v1/migrations"
	// PathThrottle takes a [Throttle] by PUT, for all nodes of the cluster.
	// DELETE takes it back: each node then heeds its own settings.
	PathThrottle = PathMigrations + "/throttle"
)

// Throttle is how much of a node copies may take. What is left out stays as it
// is.
type Throttle struct {
	// BytesPerSecond bounds what a node takes for its copies, and likewise what
	// it gives to those of others. 0 is no bound.
	BytesPerSecond *int64 `json:"bytes_per_second,omitempty"`
	// Copies is how many snapshots a node takes at a time, and likewise how many
	// it gives.
	Copies *int `json:"copies,omitempty"`
	// P99Multiple, if it is not 0, slows copies down while the slowest of a
	// hundred requests takes more than so many times what it takes otherwise.
	P99Multiple *float64 `json:"p99_multiple,omitempty"`
}

// Migrations is the answer of one node.
type Migrations struct {
	Node string `json:"node"`
	// Paused is true while moves are; copies without which a partition has too
	// few go on.
	Paused   bool          `json:"paused"`
	Throttle ThrottleState `json:"throttle"`
	// Migrations are the copies that are made on the node, by partition.
	Migrations []Migration `json:"migrations"`
	// Giving are the snapshots that it holds for others.
	Giving []Giving `json:"giving"`
	// Garbage is what is left of copies that the node has given up.
	Garbage Garbage `json:"garbage"`
}

// ThrottleState is what a node heeds now.
type ThrottleState struct {
	BytesPerSecond int64   `json:"bytes_per_second"`
	Copies         int     `json:"copies"`
	P99Multiple    float64 `json:"p99_multiple"`
	// Override is what was set for the whole cluster.
	Override *Throttle `json:"override,omitempty"`
	// Rate is the bound at the moment in bytes per second, lower than
	// BytesPerSecond while the node is slowed down; 0 is none.
	Rate int64 `json:"rate"`
	// P99 and Baseline are how long the slowest of a hundred requests take, in
	// seconds: in the last window, and while nothing is copied. 0 is unknown.
	P99      float64 `json:"p99_seconds"`
	Baseline float64 `json:"baseline_p99_seconds"`
}

// Migration is a copy that is being made.
type Migration struct {
	Partition string `json:"partition"`
	// Node is where, and Source from where; "" while that is not known.
	Node   string `json:"node"`
	Source string `json:"source,omitempty"`
	// Phase is one of "waiting", "copying snapshot", "catching up by log",
	// "comparing digests", "in sync".
	Phase string `json:"phase"`
	// Waiting says why it does not go on at the moment, "" if it does.
	Waiting string `json:"waiting,omitempty"`
	// Bytes are the keys and values of the snapshot that are here, of about
	// Total, which is 0 while it is not known or there is no snapshot.
	Bytes uint64 `json:"bytes"`
	Total uint64 `json:"total"`
	// Resumed are those of Bytes that were here before, and not copied again.
	Resumed uint64 `json:"resumed"`
	// Rate is in bytes per second, ETA in seconds until the snapshot is here, 0
	// if it is not known.
	Rate float64 `json:"rate"`
	ETA  float64 `json:"eta_seconds"`
	// Behind is how many log entries are to be caught up, as far as is known.
	Behind uint64 `json:"behind"`
	// Reason says why the copy is made, and Seconds for how long.
	Reason  string  `json:"reason"`
	Seconds float64 `json:"seconds"`
	// Failures counts the attempts that were in vain.
	Failures int `json:"failures"`
}

// Giving is a snapshot that a node holds for another.
type Giving struct {
	Partition string `json:"partition"`
	To        string `json:"to"`
	// Bytes is what was sent of it.
	Bytes uint64 `json:"bytes"`
	// Seconds is for how long it has been held.
	Seconds float64 `json:"seconds"`
}

// Garbage is what is left of copies that nobody refers to any more.
type Garbage struct {
	// Copies are those that are not deleted yet.
	Copies int `json:"copies"`
	// DeletedKeys, and Reclaims of disk space, are counted since the start.
	DeletedKeys uint64 `json:"deleted_keys"`
	Reclaims    uint64 `json:"reclaims"`
}
