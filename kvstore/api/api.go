// Package api is the wire contract between kvnode and its clients: paths,
// headers, limits and the error taxonomy. It imports the standard library
// only, so that a client does not pull in the server.
package api

// Paths of the HTTP API.
const (
	// PathKV is followed by the percent-encoded key. Any byte sequence of
	// 1 to [MaxKeyBytes] bytes is a key; an encoded slash is part of it.
	PathKV = "/v1/kv/"
	// PathBatch takes a [Batch] by POST.
	PathBatch = "/v1/batch"
)

// Headers of the HTTP API.
const (
	// HeaderVersion carries the version of a value as "epoch.lsn", on the
	// answers to GET and PUT.
	HeaderVersion = "Clusterkit-Version"
	// HeaderNoForward, when present on a request, asks the node to answer 421
	// with [CodeNotPrimary] rather than to forward. Nodes set it on what they
	// forward, so that a request makes one hop at most.
	HeaderNoForward = "Clusterkit-No-Forward"
	// HeaderTimeout says in whole milliseconds how long the client will wait
	// for the answer. The server stops waiting for a primary early enough to
	// say so.
	HeaderTimeout = "Clusterkit-Timeout"
)

// Limits, enforced before a body is read into memory.
const (
	MaxKeyBytes   = 4 << 10
	MaxValueBytes = 1<<20 - 1
	// MaxBatchCommands and MaxBatchBytes bound a batch, the keys and values in
	// it counting for the latter.
	MaxBatchCommands = 1024
	MaxBatchBytes    = 1<<20 + MaxKeyBytes
	// MaxTTL is in milliseconds: a hundred years.
	MaxTTL = 100 * 365 * 24 * 3600 * 1000
	// MaxClientBytes bounds [RequestID.Client].
	MaxClientBytes = 64
)

// RememberedFor is how long the answer to a request with an ID is remembered,
// in milliseconds.
const RememberedFor = 10 * 60 * 1000
