package clusterkit

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The control calls are HTTP on the control streams: POST, JSON both ways.
const (
	pathRenew   = "/renew"
	pathPropose = "/propose"
	pathJoin    = "/join"

	pathAnnounce = "/announce"

	// maxControlBody bounds a request and an answer.
	maxControlBody = 4 << 20
	// proposeTimeout bounds a call whose context has no deadline.
	proposeTimeout = 5 * time.Second
)

type renewRequest struct {
	Session sessionRef `json:"session"`
	// Applied is the Raft index up to which the node knows the state.
	Applied uint64 `json:"applied"`
}

type renewResponse struct {
	Code    code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Open is false when the session was ended: it is never renewed.
	Open bool `json:"open"`
	// Lease is how long the node may act, counted from before it asked.
	Lease time.Duration `json:"lease_ns"`
	// Again is when to renew next, counted from the answer.
	Again time.Duration `json:"again_ns"`
}

type proposeRequest struct {
	Command []byte `json:"command"`
}

// controlClient calls control methods of peers. Connections are kept and
// shared per peer.
type controlClient struct {
	http    *http.Client
	closeFn func()
}

func newControlClient(s *streams) *controlClient {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, host string) (net.Conn, error) {
			name, _, err := net.SplitHostPort(host)
			if err != nil {
				return nil, unreachableError{err}
			}
			peer, err := hex.DecodeString(name)
			if err != nil {
				return nil, unreachableError{err}
			}
			return s.dial(ctx, string(peer), streamControl)
		},
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
	return &controlClient{http: &http.Client{Transport: transport}, closeFn: transport.CloseIdleConnections}
}

func (c *controlClient) close() { c.closeFn() }

// call posts the request to a peer, "serverID@host:port", and decodes its
// answer. The error matches [ErrNoLeader] if the peer was not reached, so that
// nothing was executed, else [ErrUnknown].
func (c *controlClient) call(ctx context.Context, peer, path string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode control request: %w", err)
	}
	// The peer's address has characters that no URL host can have.
	target := "http://" + hex.EncodeToString([]byte(peer)) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("build control request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// Its text has the URL, which nobody can read.
		if sent, ok := errors.AsType[*url.Error](err); ok {
			err = sent.Err
		}
		if errors.As(err, new(unreachableError)) {
			return fmt.Errorf("%w: %w", ErrNoLeader, err)
		}
		return fmt.Errorf("%w: %s: %w", ErrUnknown, peer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answered %s", ErrUnknown, peer, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxControlBody)).Decode(response); err != nil {
		return fmt.Errorf("%w: decode answer of %s: %w", ErrUnknown, peer, err)
	}
	return nil
}

// leaderAPI is what a node answers while it is the Raft leader. Its errors
// match ErrNoLeader while it is not.
type leaderAPI interface {
	renew(ctx context.Context, req renewRequest) (renewResponse, error)
	applyEncoded(ctx context.Context, command []byte) (result, error)
	admit(ctx context.Context, req joinRequest) (joinResponse, error)
}

// controlHandler answers the control calls; heard takes announcements, on any
// node.
func controlHandler(api leaderAPI, heard func(context.Context, announceRequest) (announceResponse, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathRenew, func(w http.ResponseWriter, r *http.Request) {
		var req renewRequest
		if !readControl(w, r, &req) {
			return
		}
		resp, err := api.renew(r.Context(), req)
		if err != nil {
			resp = renewResponse{Code: codeOf(err), Message: err.Error()}
		}
		writeControl(w, resp)
	})
	mux.HandleFunc("POST "+pathPropose, func(w http.ResponseWriter, r *http.Request) {
		var req proposeRequest
		if !readControl(w, r, &req) {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), proposeTimeout)
		defer cancel()
		verdict, err := proposeForPeer(ctx, api, req.Command)
		if err != nil {
			verdict = result{Code: codeOf(err), Message: err.Error()}
		}
		writeControl(w, verdict)
	})
	mux.HandleFunc("POST "+pathAnnounce, func(w http.ResponseWriter, r *http.Request) {
		var req announceRequest
		if !readControl(w, r, &req) {
			return
		}
		resp, err := heard(r.Context(), req)
		if err != nil {
			resp = announceResponse{Code: codeOf(err), Message: err.Error()}
		}
		writeControl(w, resp)
	})
	mux.HandleFunc("POST "+pathJoin, func(w http.ResponseWriter, r *http.Request) {
		var req joinRequest
		if !readControl(w, r, &req) {
			return
		}
		resp, err := api.admit(r.Context(), req)
		if err != nil {
			resp = refusedJoin(err)
		}
		writeControl(w, resp)
	})
	return mux
}

// proposeForPeer proposes what a node may ask for. The rest is the
// controller's alone.
func proposeForPeer(ctx context.Context, api leaderAPI, encoded []byte) (result, error) {
	c, err := decodeCommand(encoded)
	if err != nil {
		return result{}, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	switch c := c.(type) {
	case inSyncCommand, transferCommand, acknowledgeCommand, copyAnewCommand:
	case drainCommand, weightCommand, removeCommand, forceCommand, relocateCommand:
	case pauseCommand, cancelCommand, replicationCommand, metadataCommand, prepareStopCommand:
	case registerCommand:
		if !nodeIDPattern.MatchString(c.Node.ID) || c.Node.Store == "" || c.Node.RaftAddr == "" || !strings.HasPrefix(c.Node.RaftID, serverID(c.Node.ID, "")) {
			return result{}, fmt.Errorf("%w: a node registers with its ID, store, Raft ID and address", errBadRequest)
		}
	case endSessionCommand:
		if c.Term != 0 {
			return result{}, fmt.Errorf("%w: only the leader ends the session of another node", errBadRequest)
		}
	default:
		return result{}, fmt.Errorf("%w: a node cannot propose a %T", errBadRequest, c)
	}
	return api.applyEncoded(ctx, encoded)
}

func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody)).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func writeControl(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	// A failed write closes the connection, and the caller sees that.
	_ = json.NewEncoder(w).Encode(answer)
}
