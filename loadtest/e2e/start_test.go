package e2e

import (
	"testing"
	"time"
)

// Nodes that join may come before the one that bootstraps; and SIGTERM stops
// each of them with exit code 0, with the data there afterwards.
func TestStartInReverseAndStop(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	c := newCluster(t, 3)
	for i := range c.Nodes() {
		must(t, "start", c.Nodes()[2-i].Start(ctx))
	}
	must(t, "wait", c.WaitInSync(ctx))
	_, err := clientOf(t, c, 1).Set(ctx, "k", []byte("v"))
	must(t, "set", err)
	for i := range c.Nodes() {
		must(t, "stop", c.Stop(ctx, i))
		must(t, "restart", c.Restart(ctx, i))
		must(t, "wait", c.WaitInSync(ctx))
	}
	must(t, "stop all", c.StopAll(ctx))
	for i := range c.Nodes() {
		must(t, "restart", c.Restart(ctx, 2-i))
	}
	must(t, "wait", c.WaitInSync(ctx))
	if got, err := clientOf(t, c, 2).Get(ctx, "k"); err != nil || string(got.Data) != "v" {
		t.Errorf("get: %q, %v", got.Data, err)
	}
}

// A node that has no cluster yet is alive, not ready, and takes no writes.
func TestNotReady(t *testing.T) {
	ctx := within(t, time.Minute)
	c := newCluster(t, 2)
	joiner := c.Nodes()[1]
	must(t, "start", joiner.Start(ctx))
	base := "http://" + joiner.HTTPAddr
	if got := request(t, ctx, "GET", base+"/livez", nil); got.status != 200 {
		t.Errorf("/livez: %+v", got)
	}
	if got := request(t, ctx, "GET", base+"/readyz", nil); got.status != 503 {
		t.Errorf("/readyz: %+v", got)
	}
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		wantError(t, request(t, ctx, method, base+"/v1/kv/k", nil), 503, "unavailable")
	}
	must(t, "stop", c.Stop(ctx, 1))
}
