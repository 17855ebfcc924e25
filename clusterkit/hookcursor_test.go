package clusterkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
)

func openTestCursor(t *testing.T, dir, store string) *hookCursor {
	t.Helper()
	c, err := openHookCursor(dir, store, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheCursorOutlastsTheProcess(t *testing.T) {
	dir := t.TempDir()
	c := openTestCursor(t, dir, "s1")
	c.complete(3, 1)
	c.complete(0, 1)
	c.complete(3, 17)
	c.complete(MaxPartitions-1, 1)
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	again := openTestCursor(t, dir, "s1")
	if !again.has(0, 1) || !again.has(3, 17) || !again.has(MaxPartitions-1, 1) {
		t.Errorf("read back as %v", again.completed)
	}
	if again.has(1, 1) || again.has(3, 1) || again.has(0, 2) {
		t.Errorf("%v has what was not completed", again.completed)
	}
	if openTestCursor(t, dir, "s2").has(0, 1) {
		t.Error("another store has completed what this one has")
	}
}

// TestTheCursorIsWrittenWithoutAStop crashes while the disk refuses at first.
func TestTheCursorIsWrittenWithoutAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not there yet")
		c := openTestCursor(t, dir, "s1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.run(ctx)
		}()
		c.complete(5, 1)
		synctest.Wait()
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		after(t, 2*cursorRetryDelay)
		if !openTestCursor(t, dir, "s1").has(5, 1) {
			t.Error("not on disk, although there is one now")
		}
		cancel()
		<-ended
	})
}

func TestACursorThatCannotBeUsed(t *testing.T) {
	for name, content := range map[string]string{
		"empty":        "",
		"torn":         `{"format":1,"store":"s1","comp`,
		"zeroed":       string(make([]byte, 64)),
		"newer":        `{"format":2,"store":"s1","completed":{}}`,
		"nobody's":     `{"format":1,"completed":{"1":1}}`,
		"out of range": `{"format":1,"store":"s1","completed":{"16384":1}}`,
		"negative":     `{"format":1,"store":"s1","completed":{"-1":1}}`,
		"before all":   `{"format":1,"store":"s1","completed":{"1":0}}`,
		"no number":    `{"format":1,"store":"s1","completed":{"one":1}}`,
		"two of them":  `{"format":1,"store":"s1","completed":{"1":1}}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "clusterkit-hooks.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			ck, err := NewClusterKit(Options{NodeID: "n1", HTTPAddr: ":0", RaftAddr: ":0", DataDir: dir, Bootstrap: true})
			if !errors.Is(err, ErrDataDir) {
				if err == nil {
					stop(t, ck)
				}
				t.Errorf("got %v, want an error about the data directory", err)
			}
		})
	}
}

func FuzzDecodeHookCursor(f *testing.F) {
	f.Add([]byte(`{"format":1,"store":"s1","completed":{"0":1,"16383":99}}`))
	f.Add([]byte(`{"format":1,"store":"s1","completed":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeHookCursor(data)
		if err != nil {
			return
		}
		for partition, began := range s.Completed {
			if partition < 0 || partition >= MaxPartitions || began == 0 {
				t.Fatalf("decoded %v", s)
			}
		}
		encoded, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeHookCursor(encoded)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v was read back as %+v: %v", s, again, err)
		}
	})
}

// TestHooksCompleteAfterACrash is the cursor in a whole node: the process ends
// in the hook of a first assignment.
func TestHooksCompleteAfterACrash(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 4})
	crashed := make(chan struct{})
	var first, second, third hookLog
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(partition string, from, to *Node) {
			if partition == "partition-2" {
				<-crashed
				return
			}
			first.hook(partition, from, to)
		})
	}, "node-1")
	ck := c.nodes["node-1"]
	c.eventually("record of three partitions", func() bool {
		cursor := openTestCursor(t, ck.opts.DataDir, ck.StoreID())
		return cursor.has(0, 1) && cursor.has(1, 1) && cursor.has(3, 1) && !cursor.has(2, 1)
	})
	c.kill("node-1")
	close(crashed)

	c.start(func(ck *ClusterKit) { ck.OnPartitionChange(second.hook) }, "node-1")
	c.eventually("call after the crash", func() bool { return len(second.all()) > 0 })
	second.want(t, "after the crash", "partition-2: node-1 from nobody")
	c.stop("node-1")

	c.start(func(ck *ClusterKit) { ck.OnPartitionChange(third.hook) }, "node-1")
	c.ready("node-1")
	c.stop("node-1")
	third.want(t, "after everything was completed")
}
