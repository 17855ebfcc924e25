package e2e

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// dataOnDisk returns what the committed data of node i occupy on its disk.
func dataOnDisk(t *testing.T, c *localcluster.Cluster, i int) (size int64) {
	t.Helper()
	dir := filepath.Join(c.Nodes()[i].DataDir, "kv", "data")
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var s syscall.Stat_t
		if err == nil && syscall.Lstat(path, &s) == nil {
			size += s.Blocks * 512
		}
		return nil // a file that has just gone
	})
	must(t, "size on disk", err)
	return size
}

// TestOldDataLeaveTheDisk drains one node of three, each of which has two thirds
// of the data, and sees them leave its disk.
func TestOldDataLeaveTheDisk(t *testing.T) {
	const (
		many  = 2 * blobs // so that it pays to reclaim the space of two thirds
		held  = many * blobBytes * 2 / 3
		rests = 34 << 20 // two memtables of what only fills them up
	)
	ctx := within(t, 3*time.Minute)
	c := startCluster(t, ctx, 3, littleLog, "REPLICATION_FACTOR=2")
	throttle(t, ctx, c, 0)
	cl := clientOf(t, c, 0)
	setBlobs(t, ctx, cl, many)
	balanced(t, ctx, c)
	await := func(what string, is func(size int64) bool) int64 {
		for {
			size := dataOnDisk(t, c, 2)
			if is(size) {
				return size
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s: %d bytes are on disk", what, size)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	before := await("two thirds of the data are there", func(size int64) bool { return size > held*3/4 })
	ctl(t, ctx, c, "node", "drain", c.Nodes()[2].ID)
	balanced(t, ctx, c)
	after := await("the data have gone", func(size int64) bool {
		return size < rests && counted(t, ctx, c.Nodes()[2], "kvstore_migration_garbage_reclaims_total") > 0
	})
	t.Logf("%d bytes were on the disk of the node that was drained, %d are left", before, after)
	wantBlobs(t, ctx, cl, many)
}
