// Package api is the wire contract between kvnode and its clients: paths,
// headers, limits and the error taxonomy. It imports the standard library
// only, so that a client does not pull in the server.
package api

// Paths of the HTTP API.
const (
	// PathKV is followed by the percent-encoded key. Any byte sequence of
	// 1 to [MaxKeyBytes] bytes is a key; an encoded slash is part of it. GET,
	// HEAD, PUT and DELETE are about the value. POST executes the [Op] that the
	// query names as [QueryOp], with the body as the value of a set or an append,
	// and answers with a [Result].
	PathKV = "/v1/kv/"
	// PathBatch takes a [Batch] by POST.
	PathBatch = "/v1/batch"
	// PathMGet takes [Keys] by POST, which may be of any partitions.
	PathMGet = "/v1/mget"
	// PathScan is answered with a [ScanAnswer]: a page of what stands under the
	// keys with a prefix, by GET.
	PathScan = "/v1/scan"
)

// The query of a GET of [PathScan]. Without [QueryCursor] a scan begins: of all
// partitions in turn or, if the prefix has a whole {tag}, of the only one whose
// keys can have it.
const (
	// QueryPrefix is what the keys begin with, percent-encoded; nothing for all.
	QueryPrefix = "prefix"
	// QueryPartition is the number of the only partition to be scanned.
	QueryPartition = "partition"
	// QueryCursor goes on behind an earlier page, with what that page had as
	// [ScanAnswer.Cursor].
	QueryCursor = "cursor"
	// QueryLimit is how many items a page has at most; [DefaultScanItems] without
	// it. A page may have fewer and yet not be the last.
	QueryLimit = "limit"
	// QueryNewer, when "true", goes on with a newer snapshot of the partition
	// when that of the cursor is gone, rather than to fail with
	// [CodeSnapshotGone].
	QueryNewer = "newer"
)

// The query of a POST to [PathKV].
const (
	QueryOp = "op"
	// QueryDelta is what an increment adds; 1 without it.
	QueryDelta = "delta"
)

// Headers of the HTTP API. Beside them, PUT, POST and DELETE heed "If-Match",
// with a quoted version or *, and "If-None-Match: *"; answers carry the version
// quoted as "ETag", too.
const (
	// HeaderVersion carries the version of a value as "epoch.lsn", on the
	// answers to GET and PUT.
	HeaderVersion = "Clusterkit-Version"
	// HeaderTTL says in whole milliseconds after which time a value that is
	// written expires, or how much is left of it on the answer to GET. Without it
	// the value stays for ever.
	HeaderTTL = "Clusterkit-TTL"
	// HeaderClient and HeaderSeq are the [RequestID] of a PUT, POST or DELETE:
	// under it the same request may be sent again.
	HeaderClient = "Clusterkit-Client"
	HeaderSeq    = "Clusterkit-Seq"
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
	// MaxAnswerBytes bounds the values in the answer to a batch, or to [Keys].
	MaxAnswerBytes = 4 << 20
	// MaxTTL is in milliseconds: a hundred years.
	MaxTTL = 100 * 365 * 24 * 3600 * 1000
	// MaxScanItems bounds a page of a scan, MaxScanBytes its keys and values if it
	// has more than one item.
	MaxScanItems     = 1024
	DefaultScanItems = 100
	MaxScanBytes     = 1 << 20
	// MaxCursorBytes is longer than any cursor.
	MaxCursorBytes = 8 << 10
	// MaxClientBytes bounds [RequestID.Client].
	MaxClientBytes = 64
)

// RememberedFor is how long the answer to a request with an ID is remembered,
// in milliseconds.
const RememberedFor = 10 * 60 * 1000
