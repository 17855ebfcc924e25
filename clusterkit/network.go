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

// network is what a started node listens on.
type network struct {
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
func listen(ck *ClusterKit) (*network, error) {
	raftListener, err := listenOn("RaftAddr", ck.opts.RaftAddr)
	if err != nil {
		return nil, err
	}
	n := &network{}
	httpAddr := ck.opts.HTTPAddr
	if !ck.opts.ExternalHTTP {
		if n.apiListener, err = listenOn("HTTPAddr", ck.opts.HTTPAddr); err != nil {
			return nil, errors.Join(err, raftListener.Close())
		}
		httpAddr = n.apiListener.Addr().String()
	}
	ck.setAddresses(raftListener.Addr().String(), httpAddr)
	cluster := func() string { return ck.dir.identity().ClusterUUID }
	n.streams = newStreams(raftListener, ck.serverID(), ck.self.Load().RaftAddr, cluster)
	n.client = newControlClient(n.streams)
	return n, nil
}

func listenOn(field, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w: choose an address of this machine and a free port", ErrOptions, field, err)
	}
	return l, nil
}

// peerAddr is how Raft names this node.
func (n *network) peerAddr() string { return n.streams.raft.Addr().String() }

func (n *network) transport(book *addressBook, writes *writeWatch, log hclog.Logger) *raftTransport {
	t := newRaftTransport(n.streams, book, raftRPCTimeout, log)
	t.stalled = writes.stalled
	t.replicates = func(id raft.ServerID, term uint64) bool {
		r := book.raft.Load()
		return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term &&
			slices.ContainsFunc(r.GetConfiguration().Configuration().Servers, func(s raft.Server) bool { return s.ID == id })
	}
	return t
}

// serve answers on both ports.
func (n *network) serve(ck *ClusterKit) {
	n.control = &http.Server{Handler: controlHandler(ck.controller), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	n.wg.Go(func() { _ = n.control.Serve(n.streams.control) })
	if n.apiListener == nil {
		return
	}
	n.api = &http.Server{Handler: ck.handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	n.wg.Go(func() { _ = n.api.Serve(n.apiListener) })
}

// close ends every connection; requests to the HTTP API get a moment to end.
func (n *network) close() {
	if n.api != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		if n.api.Shutdown(ctx) != nil {
			_ = n.api.Close()
		}
		cancel()
	} else if n.apiListener != nil {
		_ = n.apiListener.Close()
	}
	n.streams.close()
	if n.control != nil {
		_ = n.control.Close()
	}
	n.client.close()
	n.wg.Wait()
}
