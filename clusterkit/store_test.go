package clusterkit

import (
	"testing"
	"testing/synctest"
)

// TestIdentityIsReadDuringAWrite reads the identity while an update is going on,
// as every connection to another node does.
func TestIdentityIsReadDuringAWrite(t *testing.T) {
	dir, err := openDataDir(t.TempDir(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.close() })
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		updated := make(chan error, 1)
		go func() {
			updated <- dir.update(func(id *identity) {
				id.Incarnation++
				<-release
			})
		}()
		synctest.Wait()
		if got := dir.identity(); got.NodeID != "n1" || got.Incarnation != 0 {
			t.Errorf("during the update: %+v", got)
		}
		close(release)
		if err := <-updated; err != nil || dir.identity().Incarnation != 1 {
			t.Errorf("after the update: %+v, %v", dir.identity(), err)
		}
	})
}
