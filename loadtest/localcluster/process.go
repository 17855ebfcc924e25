package localcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// errPortTaken is returned when somebody took an address between the moment
// when it was let go and the node's start.
var errPortTaken = errors.New("an address of the node is in use")

const (
	pollInterval = 50 * time.Millisecond
	probeTimeout = time.Second
)

// process is one run of the binary. A nil *process has never run.
type process struct {
	cmd *exec.Cmd
	// done is closed when the process has ended and was waited for.
	done chan struct{}
}

func startProcess(command, env []string, logFile string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append([]string{}, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = procAttr()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // its result is in cmd.ProcessState
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// exitCode returns the exit code of an ended process, -1 after a signal.
func (p *process) exitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// signal sends s; a process that has ended meanwhile is no error.
func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// untilLive waits until the node's HTTP server answers.
func (p *process) untilLive(ctx context.Context, n *Node) error {
	var failure error
	for {
		if failure = probe(ctx, n.HTTPAddr, "/livez"); failure == nil {
			return nil
		}
		select {
		case <-p.done:
			if strings.Contains(tail(n.LogFile), "address already in use") {
				return fmt.Errorf("%w: %w", errPortTaken, n.died())
			}
			return n.died()
		case <-ctx.Done():
			return fmt.Errorf("start %s: not live: %w (%w)", n.ID, failure, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

var prober = &http.Client{
	Timeout:   probeTimeout,
	Transport: &http.Transport{DisableKeepAlives: true},
}

// probe returns nil if GET path answers 200.
func probe(ctx context.Context, addr, path string) error { return get(ctx, addr, path, nil) }

// get asks a node and decodes its answer into the value that to points to, nil
// for none.
func get(ctx context.Context, addr, path string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := prober.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok && e.Timeout() {
		return fmt.Errorf("GET %s: no answer in time", req.URL)
	} else if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET http://%s%s: %s", addr, path, resp.Status)
	}
	if to == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(to)
}
