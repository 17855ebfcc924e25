package storage

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// inlineLimit is Badger's greatest ValueThreshold: a value of this size or
// more would go to the value log, where nothing of ours ever is. Badger
// demands that it is at most 15 % of the memtable.
const inlineLimit = 1 << 20

// numLevelZeroTables is how many tables Badger leaves in level zero.
const numLevelZeroTables = 4

// badgerOptions sets every option, so that a new version of Badger changes
// none behind our back.
func badgerOptions(o Options) badger.Options {
	return badger.Options{
		Dir:      o.Dir,
		ValueDir: o.Dir,

		// One msync per transaction; DB.Sync would miss a rotated memtable.
		SyncWrites:        true,
		NumVersionsToKeep: 1,
		ReadOnly:          false,
		Logger:            badgerLogger{o.Logger},
		InMemory:          false,
		// Badger's metrics are process-wide variables.
		MetricsEnabled: false,
		NumGoroutines:  1,

		// Blocks and indexes of uncompressed tables are used where they are
		// mapped; caches would keep them a second time.
		Compression:          options.None,
		ZSTDCompressionLevel: 1,
		BlockCacheSize:       0,
		IndexCacheSize:       0,

		MemTableSize: o.MemTableBytes,
		NumMemtables: 2,
		// Badger keeps the buffers in which it builds tables, each twice the
		// size of a table: small ones, on all levels.
		BaseTableSize:           2 << 20,
		BaseLevelSize:           16 << 20,
		LevelSizeMultiplier:     10,
		TableSizeMultiplier:     1,
		MaxLevels:               7,
		NumLevelZeroTables:      numLevelZeroTables,
		NumLevelZeroTablesStall: 12,
		NumCompactors:           2,
		CompactL0OnClose:        false,
		LmaxCompaction:          false,
		BlockSize:               4 << 10,
		BloomFalsePositive:      0.01,

		ValueThreshold:      inlineLimit,
		VLogPercentile:      0,
		ValueLogFileSize:    16 << 20,
		ValueLogMaxEntries:  1_000_000,
		VerifyValueChecksum: true,

		// A block whose checksum does not match reads as if its keys were
		// absent, or gives way to older versions of them, and a compaction
		// leaves out all that follows it in the table. Of a block that is not
		// verified, the values are still there to be verified.
		ChecksumVerificationMode: options.NoVerification,

		// Writers of one partition take turns; there is nothing to detect.
		DetectConflicts:               false,
		BypassLockGuard:               false,
		NamespaceOffset:               -1,
		EncryptionKey:                 nil,
		EncryptionKeyRotationDuration: 0,
		ExternalMagicVersion:          0,
	}
}

// badgerLogger passes Badger's messages on. Its informational ones describe
// internals and are debugging messages here.
type badgerLogger struct{ log *slog.Logger }

func (l badgerLogger) Errorf(format string, args ...any)   { l.print(slog.LevelError, format, args) }
func (l badgerLogger) Warningf(format string, args ...any) { l.print(slog.LevelWarn, format, args) }
func (l badgerLogger) Infof(format string, args ...any)    { l.print(slog.LevelDebug, format, args) }
func (l badgerLogger) Debugf(string, ...any)               {}

func (l badgerLogger) print(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
