package replication

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Path is where a node accepts replication connections.
const Path = "/internal/replication"

const (
	protocol = "clusterkit-replication/1"

	headerCluster   = "Clusterkit-Cluster"
	headerFromNode  = "Clusterkit-From-Node"
	headerFromStore = "Clusterkit-From-Store"
	headerToNode    = "Clusterkit-To-Node"
	headerToStore   = "Clusterkit-To-Store"

	handshakeTimeout = 3 * time.Second
	// maxAnswerBytes bounds the answer to a handshake.
	maxAnswerBytes = 16 << 10
)

// ErrRefused is wrapped by the error of a handshake that the other end turned
// down: it is another node, another disk, or of another cluster.
var ErrRefused = errors.New("replication: connection refused by the peer")

// dial connects to addr and makes sure that it is the peer meant.
func dial(ctx context.Context, addr, cluster string, from, to Peer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := (&net.Dialer{KeepAlive: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err := greet(ctx, conn, addr, cluster, from, to); err != nil {
		stop()
		return nil, errors.Join(err, conn.Close())
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return conn, nil
}

func greet(ctx context.Context, conn net.Conn, addr, cluster string, from, to Peer) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+Path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	req.Header.Set(headerCluster, cluster)
	req.Header.Set(headerFromNode, from.Node)
	req.Header.Set(headerFromStore, from.Store)
	req.Header.Set(headerToNode, to.Node)
	req.Header.Set(headerToStore, to.Store)
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswerBytes)), req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return errors.Join(fmt.Errorf("%w: %s: %s", ErrRefused, resp.Status, bytes.TrimSpace(why)), resp.Body.Close())
	}
	return conn.SetDeadline(time.Time{})
}

// accept takes the connection of a handshake over; [welcome] then answers it.
// When accept returns an error it has answered already.
func accept(w http.ResponseWriter, r *http.Request, cluster string, self Peer) (net.Conn, *bufio.Reader, Peer, error) {
	from := Peer{r.Header.Get(headerFromNode), r.Header.Get(headerFromStore)}
	refuse := func(format string, args ...any) (net.Conn, *bufio.Reader, Peer, error) {
		err := fmt.Errorf(format, args...)
		http.Error(w, err.Error(), http.StatusForbidden)
		return nil, nil, from, err
	}
	switch to := (Peer{r.Header.Get(headerToNode), r.Header.Get(headerToStore)}); {
	case r.Header.Get("Upgrade") != protocol:
		return refuse("this endpoint speaks %s only", protocol)
	case r.Header.Get(headerCluster) != cluster:
		return refuse("this node is of cluster %s", cluster)
	case to != self:
		return refuse("this is node %q with store %s", self.Node, self.Store)
	case from.Node == "" || from.Store == "" || from.Node == self.Node:
		return refuse("headers %s and %s must name another node", headerFromNode, headerFromStore)
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "the connection cannot be upgraded", http.StatusInternalServerError)
		return nil, nil, from, err
	}
	return conn, rw.Reader, from, nil
}

// welcome tells the other end that it may begin.
func welcome(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}
