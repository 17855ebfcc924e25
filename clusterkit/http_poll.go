package clusterkit

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxWait bounds how long a request may wait for a newer map.
const maxWait = time.Minute

// sight is what an answer is made from. Two answers to the same request that
// were made from equal sights are equal, whichever nodes gave them.
type sight struct {
	m *Map
	// leader is "" where the answer does not show it.
	leader string
}

// tag names a sight. It is the ETag "cluster:version:leader", the last part
// missing with the leader.
type tag struct {
	cluster string
	version uint64
	leader  string
}

func (s sight) tag() tag { return tag{s.m.ClusterUUID, s.m.Version, s.leader} }

func (t tag) String() string {
	name := t.cluster + ":" + strconv.FormatUint(t.version, 10)
	if t.leader != "" {
		name += ":" + t.leader
	}
	return `"` + name + `"`
}

// parseTag reports false for what is no tag of this API.
func parseTag(s string) (tag, bool) {
	s, quoted := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(s), "W/"), `"`)
	s, closed := strings.CutSuffix(s, `"`)
	cluster, rest, _ := strings.Cut(s, ":")
	number, leader, _ := strings.Cut(rest, ":")
	version, err := strconv.ParseUint(number, 10, 64)
	return tag{cluster, version, leader}, quoted && closed && err == nil
}

// covers reports whether who has t need not be told of other: t is the same, or
// of a newer map. An answer never takes a client back to an older map.
func (t tag) covers(other tag) bool {
	return t.cluster == other.cluster && (t.version > other.version || t == other)
}

// condition is what a client has already, and how long it waits for more.
type condition struct {
	tags []tag
	// version is a map version from the query, nil if there is none.
	version *uint64
	wait    time.Duration
}

// parseCondition reads If-None-Match and the parameters wait and version, of
// which the last counts only without the header.
func parseCondition(r *http.Request) (condition, error) {
	var c condition
	for value := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if t, ok := parseTag(value); ok {
			c.tags = append(c.tags, t)
		}
	}
	if value := r.URL.Query().Get("version"); value != "" {
		version, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return c, fmt.Errorf("%w: the parameter version is %q: use the version of a map, a whole number", errBadRequest, value)
		}
		c.version = &version
	}
	var err error
	c.wait, err = duration(r, "wait", 0, maxWait)
	return c, err
}

// covered returns the tag of what the client has, if that makes the sight
// nothing new to it.
func (c condition) covered(s sight) (tag, bool) {
	if len(c.tags) == 0 && c.version != nil {
		return s.tag(), *c.version >= s.m.Version
	}
	i := slices.IndexFunc(c.tags, func(t tag) bool { return t.covers(s.tag()) })
	if i < 0 {
		return tag{}, false
	}
	return c.tags[i], true
}

// await returns a sight that is new to the client, or reports that there was
// none until the end of the wait, or of the client's patience, and which tag
// covers the last. A change of the leader alone ends no wait.
func (a *api) await(r *http.Request, c condition, look func() sight) (s sight, by tag, covered bool, err error) {
	a.requests.waiting.Add(1)
	defer a.requests.waiting.Add(-1)
	end := time.NewTimer(c.wait)
	defer end.Stop()
	for last := c.wait == 0; ; {
		changed := a.changed.wait()
		s = look()
		if s.m != nil {
			by, covered = c.covered(s)
		}
		switch {
		case s.m != nil && (last || !covered):
			return s, by, covered, nil
		case last:
			return s, by, covered, ErrNotReady
		}
		select {
		case <-changed:
		case <-end.C:
			last = true
		case <-r.Context().Done():
			last = true
		case <-a.polls.Done():
			return s, by, covered, ErrStopped
		}
	}
}

// view answers with what is derived from the map alone, and made once for all
// who ask for it.
func (a *api) view(show func(sight) any) endpoint {
	return a.cached(false, show)
}

// viewWithLeader is for what also depends on the leader.
func (a *api) viewWithLeader(show func(sight) any) endpoint {
	return a.cached(true, show)
}

func (a *api) cached(withLeader bool, show func(sight) any) endpoint {
	var latest rendering
	return a.polled(withLeader, func(_ *http.Request, s sight) ([]byte, error) {
		return latest.of(s, show)
	})
}

// viewOf answers with what depends on the map and on the request.
func (a *api) viewOf(show func(*http.Request, *Map) (any, error)) endpoint {
	return a.polled(false, func(r *http.Request, s sight) ([]byte, error) {
		body, err := show(r, s.m)
		if err != nil {
			return nil, err
		}
		return encodeJSON(body)
	})
}

func (a *api) polled(withLeader bool, body func(*http.Request, sight) ([]byte, error)) endpoint {
	look := func() sight {
		s := sight{m: a.ck.Map()}
		if withLeader {
			s.leader, _ = a.ck.leaderNode()
		}
		return s
	}
	return func(w *responder, r *http.Request) error {
		c, err := parseCondition(r)
		if err != nil {
			return err
		}
		w.within(c.wait)
		s, by, covered, err := a.await(r, c, look)
		if err != nil {
			return err
		}
		if covered {
			w.tag(by)
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		encoded, err := body(r, s)
		if err != nil {
			return err
		}
		w.tag(s.tag())
		w.encoded(http.StatusOK, encoded)
		return nil
	}
}

// tag names the answer. Whoever keeps it asks again before using it.
func (w *responder) tag(t tag) {
	w.Header().Set("ETag", t.String())
	w.Header().Set("Cache-Control", "no-cache")
}

// rendering is an answer that many ask for at the same moment: when the map
// has changed.
type rendering struct {
	mu   sync.Mutex
	tag  tag
	body []byte
}

func (l *rendering) of(s sight, show func(sight) any) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body != nil && l.tag == s.tag() {
		return l.body, nil
	}
	body, err := encodeJSON(show(s))
	if err != nil {
		return nil, err
	}
	l.tag, l.body = s.tag(), body
	return body, nil
}
