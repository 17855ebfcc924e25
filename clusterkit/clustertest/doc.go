// Package clustertest runs whole clusters inside one test: real clusterkit nodes
// with their directories on disk, on a network in memory that can be cut, healed
// and paused, and with clocks that can be changed.
//
//	func TestFailover(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			c := clustertest.New(t, clustertest.Config{})
//			c.WaitHealthy()
//			old := c.WaitPrimary("user:123")
//			c.Kill(old)
//			c.WaitHealthy()
//			t.Log(c.WaitPrimary("user:123"), "has taken over from", old)
//		})
//	}
//
// # Time
//
// In a bubble of [testing/synctest], as above, time is fake: it passes when all
// nodes wait, and then at once. A failover that takes seconds takes the test a
// moment, and a busy machine cannot make it fail. Nothing has to be set up for
// that; but everything that a bubble asks for holds, so the application's
// connections should be made on the network in memory too: [Config.Options] sees
// it as Options.Network. Fake time does not make a schedule repeatable: goroutines
// still run in any order, and Raft draws its election timeouts by chance.
//
// Outside of a bubble the same test runs in real time.
//
// # Faults
//
// [Cluster.Cut], [Cluster.CutOneWay] and [Cluster.Isolate] hold traffic up as a
// broken cable does, until [Cluster.Heal]. [Cluster.Kill] is a kill -9,
// [Cluster.Pause] a SIGSTOP as the others see it, [Cluster.Wipe] a lost disk, and
// [Cluster.Clock] a wrong clock. Three things cannot be had within one process:
// a paused or killed node's own code that stands still in the middle of
// something (a hook that is running goes on), a disk that loses what was
// written but not synced, and a message that is lost while its connection lives.
package clustertest
