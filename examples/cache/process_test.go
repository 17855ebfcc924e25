package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
)

// process is a node as it is run from a shell.
type process struct {
	t   *testing.T
	env []string
	// addr is the HTTP address.
	addr string
	cmd  *exec.Cmd
}

func (p *process) start(binary string) {
	p.t.Helper()
	p.cmd = exec.Command(binary)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, p.t.Output(), p.t.Output()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it says that it was killed
	}
}

// do sends a request until it is answered by a status other than 503 and 504:
// here, to repeat a request of unknown outcome does no harm.
func (p *process) do(method, path, body string) (int, string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.addr+path, strings.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue // it does not listen yet
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusGatewayTimeout {
			return resp.StatusCode, string(answer)
		}
	}
	p.t.Fatalf("%s %s on %s: no answer within a minute", method, path, p.addr)
	return 0, ""
}

// settled waits until all copies are made, in the eyes of the node.
func (p *process) settled(nodes int) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		var stats struct {
			Moving          int `json:"moving"`
			UnderReplicated int `json:"under_replicated"`
			Nodes           []struct{ Alive bool }
		}
		_, body := p.do("GET", "/partitions/stats", "")
		if err := json.Unmarshal([]byte(body), &stats); err != nil {
			p.t.Fatalf("%v: %s", err, body)
		}
		if len(stats.Nodes) == nodes && stats.Moving == 0 && stats.UnderReplicated == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not settled within a minute: %s", body)
		}
	}
}

// TestProcesses runs the example as README.md does, and kills a primary.
func TestProcesses(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "cache")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	nodes := make(map[string]*process)
	first := freeport.Addr(t)
	for i := range 3 {
		id := fmt.Sprintf("node-%d", i+1)
		p := &process{t: t, addr: freeport.Addr(t)}
		p.env = []string{
			"NODE_ID=" + id, "NODE_NAME=Server-" + id, "RAFT_ADDR=" + freeport.Addr(t),
			"DATA_DIR=" + filepath.Join(t.TempDir(), id), "JOIN_ADDR=" + first,
		}
		if i == 0 {
			p.addr = first
			p.env[4] = "BOOTSTRAP=true"
		}
		p.env = append(p.env, "HTTP_ADDR="+p.addr)
		nodes[id] = p
		p.start(binary)
		t.Cleanup(p.kill)
	}
	one := nodes["node-1"]
	one.settled(3)

	const keys = 50
	check := func(p *process, want string) {
		t.Helper()
		for i := range keys {
			if status, body := p.do("GET", fmt.Sprintf("/cache/key-%d", i), ""); status != 200 || body != want {
				t.Errorf("key-%d on %s: %d %q, want %q", i, p.addr, status, body, want)
			}
		}
	}
	write := func(p *process, value string) {
		t.Helper()
		for i := range keys {
			if status, body := p.do("PUT", fmt.Sprintf("/cache/key-%d", i), value); status != 204 {
				t.Errorf("PUT key-%d on %s: %d %s", i, p.addr, status, body)
			}
		}
	}
	write(one, "first")
	for _, p := range nodes {
		check(p, "first")
	}

	var lookup struct{ Primary struct{ ID string } }
	if _, body := one.do("GET", "/partitions/key?key=key-7", ""); json.Unmarshal([]byte(body), &lookup) != nil || nodes[lookup.Primary.ID] == nil {
		t.Fatalf("no primary: %s", body)
	}
	killed := nodes[lookup.Primary.ID]
	killed.kill()
	began := time.Now()
	for _, p := range nodes {
		if p != killed {
			check(p, "first")
		}
	}
	t.Logf("killed the primary of key-7, %s; everything was read on the others after %s", lookup.Primary.ID, time.Since(began).Round(time.Millisecond))
	for _, p := range nodes {
		if p != killed {
			write(p, "second")
			break
		}
	}

	killed.start(binary)
	killed.settled(3)
	check(killed, "second")
	if status, _ := killed.do("DELETE", "/cache/key-7", ""); status != 204 {
		t.Errorf("DELETE: %d", status)
	}
	for _, p := range nodes {
		if status, body := p.do("GET", "/cache/key-7", ""); status != 404 {
			t.Errorf("a deleted key on %s: %d %q", p.addr, status, body)
		}
	}
}
