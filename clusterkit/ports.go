package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// ports are what a started node listens on.
type ports struct {
	streams *streams
	client  *controlClient
	control *http.Server
	// api and apiListener are nil where the application serves the HTTP API.
	api         *http.Server
	apiListener net.Listener
	wg          sync.WaitGroup
}

const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	drainTimeout      = time.Second
)

// listen opens the ports. Nothing is answered yet.
func listen(ck *ClusterKit) (*ports, error) {
	raftListener, err := listenOn(ck.opts.Network, "RaftAddr", ck.opts.RaftAddr)
	if err != nil {
		return nil, err
	}
	p := &ports{}
	httpAddr := ck.opts.HTTPAddr
	if !ck.opts.ExternalHTTP {
		if p.apiListener, err = listenOn(ck.opts.Network, "HTTPAddr", ck.opts.HTTPAddr); err != nil {
			return nil, errors.Join(err, raftListener.Close())
		}
		httpAddr = p.apiListener.Addr().String()
	}
	ck.setAddresses(raftListener.Addr().String(), httpAddr)
	cluster := func() string { return ck.dir.identity().ClusterUUID }
	p.streams = newStreams(ck.opts.Network, raftListener, ck.serverID(), ck.self.Load().RaftAddr, cluster, ck.book.forget)
	p.client = newControlClient(p.streams)
	return p, nil
}

func listenOn(network Network, field, addr string) (net.Listener, error) {
	l, err := network.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w: choose an address of this machine and a free port", ErrOptions, field, err)
	}
	return l, nil
}

// peerAddr is how Raft names this node.
func (p *ports) peerAddr() string { return p.streams.raft.Addr().String() }

func (p *ports) transport(book *addressBook, writes *writeWatch, log hclog.Logger) *raftTransport {
	t := newRaftTransport(p.streams, book, raftRPCTimeout, log)
	t.stalled = writes.stalled
	t.replicates = func(id raft.ServerID, term uint64) bool {
		r := book.raft.Load()
		return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term &&
			slices.ContainsFunc(r.GetConfiguration().Configuration().Servers, func(s raft.Server) bool { return s.ID == id })
	}
	return t
}

// serve answers on both ports.
func (p *ports) serve(ck *ClusterKit) {
	p.control = &http.Server{Handler: controlHandler(ck.controller, ck.heardFrom), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	p.wg.Go(func() { _ = p.control.Serve(p.streams.control) })
	if p.apiListener == nil {
		return
	}
	p.api = &http.Server{Handler: ck.Handler(), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	p.wg.Go(func() { _ = p.api.Serve(p.apiListener) })
}

// sever ends every connection at once.
func (p *ports) sever() {
	p.streams.close()
	if p.api != nil {
		_ = p.api.Close()
	} else if p.apiListener != nil {
		_ = p.apiListener.Close()
	}
}

// close ends every connection; requests to the HTTP API get a moment to end.
func (p *ports) close() {
	if p.api != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		if p.api.Shutdown(ctx) != nil {
			_ = p.api.Close()
		}
		cancel()
	} else if p.apiListener != nil {
		_ = p.apiListener.Close()
	}
	p.streams.close()
	if p.control != nil {
		_ = p.control.Close()
	}
	p.client.close()
	p.wg.Wait()
}
