package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTags(t *testing.T) {
	for text, want := range map[string]tag{
		`"c:7"`:          {"c", 7, ""},
		` W/"c:7" `:      {"c", 7, ""},
		`"c:7:node.1"`:   {"c", 7, "node.1"},
		`"c:7:n:x"`:      {"c", 7, "n:x"},
		`"c:-1"`:         {},
		`"c"`:            {},
		`c:7`:            {},
		`"c:7`:           {},
		`*`:              {},
		``:               {},
		`"c:seven:node"`: {},
	} {
		got, ok := parseTag(text)
		if ok != (want != tag{}) || ok && got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, ok, want)
		}
	}
}

func FuzzTag(f *testing.F) {
	f.Add(`"c:7:node-1"`)
	f.Add(`W/"5f0c:18446744073709551615"`)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseTag(text)
		if !ok {
			return
		}
		if again, same := parseTag(got.String()); !same || again != got {
			t.Errorf("%q is read as %+v and written as %q", text, got, got.String())
		}
	})
}

func TestCondition(t *testing.T) {
	m := foundedMap(4, 2)
	m.Version = 7
	here := m.ClusterUUID
	for _, tt := range []struct {
		name, header, query, leader string
		// covered is the tag in the answer 304, "" if there is news.
		covered string
	}{
		{"nothing known", "", "", "", ""},
		{"this map", `"` + here + `:7"`, "", "", `"` + here + `:7"`},
		{"this map, weakly", `W/"` + here + `:7"`, "", "", `"` + here + `:7"`},
		{"an older map", `"` + here + `:6"`, "", "", ""},
		{"a newer map, of another node", `"` + here + `:8"`, "", "", `"` + here + `:8"`},
		{"another cluster's", `"other:8"`, "", "", ""},
		{"one of several", `"other:8", "` + here + `:7"`, "", "", `"` + here + `:7"`},
		{"foreign tags", `"x", W/"y", *`, "", "", ""},
		{"the leader", `"` + here + `:7:n1"`, "", "n1", `"` + here + `:7:n1"`},
		{"another leader", `"` + here + `:7:n1"`, "", "n2", ""},
		{"a leader that is lost", `"` + here + `:7:n1"`, "", "", ""},
		{"no leader before", `"` + here + `:7"`, "", "n1", ""},
		{"this version", "", "?version=7", "", `"` + here + `:7"`},
		{"an older version", "", "?version=6", "", ""},
		{"a newer version", "", "?version=8", "", `"` + here + `:7"`},
		{"the header counts", `"` + here + `:6"`, "?version=8", "", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/cluster"+tt.query, nil)
		if tt.header != "" {
			r.Header.Set("If-None-Match", tt.header)
		}
		c, err := parseCondition(r)
		if err != nil {
			t.Fatal(err)
		}
		by, covered := c.covered(sight{m, tt.leader})
		if covered != (tt.covered != "") || covered && by.String() != tt.covered {
			t.Errorf("%s: %v by %s, want %q", tt.name, covered, by, tt.covered)
		}
	}
}

// TestETagChangesOnFailover: whoever asks with the tag from before the failover
// is told of the new primary, and not that nothing has changed.
func TestETagChangesOnFailover(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := startThree(t, nil)
	leader := c.leader()
	witness := three[slices.IndexFunc(three, func(id string) bool { return id != leader })]
	key := ""
	for i := 0; key == ""; i++ {
		p, err := c.nodes[witness].GetPartition(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if p.Primary == leader {
			key = fmt.Sprint(i)
		}
	}
	keyPath := "/partitions/key?key=" + key
	paths := []string{"/cluster", "/nodes", "/nodes/" + leader, "/partitions", "/partitions/stats", keyPath, "/moves", "/metadata"}
	before := make(map[string]string)
	for _, path := range paths {
		before[path] = c.ask(witness, path).header.Get("ETag")
		if got := c.ask(witness, path, "If-None-Match", before[path]); got.status != http.StatusNotModified || got.header.Get("ETag") != before[path] {
			t.Errorf("%s unchanged: %d, tag %s", path, got.status, got.header.Get("ETag"))
		}
	}
	c.kill(leader)
	c.eventually("failover", func() bool {
		p, err := c.nodes[witness].GetPartition(key)
		return err == nil && p.Primary != leader
	})
	for _, path := range paths {
		got := c.ask(witness, path, "If-None-Match", before[path])
		if got.status != http.StatusOK || got.header.Get("ETag") == before[path] {
			t.Errorf("%s after the failover: %d, tag %s", path, got.status, got.header.Get("ETag"))
		}
	}
	primary := c.ask(witness, keyPath, "If-None-Match", before[keyPath]).body["primary"].(map[string]any)
	if primary["id"] == leader || primary["alive"] != true {
		t.Errorf("the primary after the failover is %v", primary)
	}
	for node := range c.nodes {
		c.eventually("equal tags on all nodes", func() bool {
			return c.ask(node, "/partitions").header.Get("ETag") == c.ask(witness, "/partitions").header.Get("ETag")
		})
	}
	if got := c.send(witness, http.MethodHead, "/partitions", ""); got.status != 200 || got.header.Get("ETag") == "" {
		t.Errorf("HEAD: %d %v", got.status, got.header)
	}
}

// pollNode returns a node whose map the test replaces by a newer one.
func pollNode(t *testing.T) (ck *ClusterKit, publish func() *Map) {
	ck = newStopped(t)
	return ck, func() *Map {
		prev := ck.Map()
		next := *foundedMap(4, 2)
		if prev != nil {
			next.Version = prev.Version + 1
		}
		ck.state.swap(prev, &next)
		return &next
	}
}

// poll asks for the path and returns the status, and after how long.
func poll(ctx context.Context, t *testing.T, ck *ClusterKit, path string) (status int, took time.Duration) {
	t.Helper()
	began := time.Now()
	got := serve(t, ck, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return got.status, time.Since(began)
}

func TestPolls(t *testing.T) {
	type event func(ck *ClusterKit, publish func() *Map, cancel func())
	for _, tt := range []struct {
		name, query string
		// meanwhile is called after a second, in which the poll waits.
		meanwhile event
		status    int
		took      time.Duration
	}{
		{"nothing happens", "version=VERSION&wait=30s", nil, 304, 30 * time.Second},
		{"the map changes", "version=VERSION&wait=30s", func(_ *ClusterKit, publish func() *Map, _ func()) { publish() }, 200, time.Second},
		{"the client goes", "version=VERSION&wait=30s", func(_ *ClusterKit, _ func() *Map, cancel func()) { cancel() }, 304, time.Second},
		{"the server stops", "version=VERSION&wait=30s", func(ck *ClusterKit, _ func() *Map, _ func()) { ck.EndPolls() }, 503, time.Second},
		{"the node stops", "version=VERSION&wait=30s", func(ck *ClusterKit, _ func() *Map, _ func()) { stop(t, ck) }, 503, time.Second},
		{"the map is newer already", "version=0&wait=30s", nil, 200, 0},
		{"nothing is known", "wait=30s", nil, 200, 0},
		{"no wait", "version=VERSION", nil, 304, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ck, publish := pollNode(t)
				query := strings.ReplaceAll(tt.query, "VERSION", fmt.Sprint(publish().Version))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() {
					if status, took := poll(ctx, t, ck, "/partitions?"+query); status != tt.status || took != tt.took {
						t.Errorf("%d after %s, want %d after %s", status, took, tt.status, tt.took)
					}
				})
				if tt.meanwhile != nil {
					sleep(t.Context(), time.Second)
					tt.meanwhile(ck, publish, cancel)
				}
				wg.Wait()
			})
		})
	}
}

func TestPollForTheFirstMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ck, publish := pollNode(t)
		if status, took := poll(t.Context(), t, ck, "/cluster?wait=2s"); status != 503 || took != 2*time.Second {
			t.Errorf("without a map: %d after %s", status, took)
		}
		time.AfterFunc(time.Second, func() { publish() })
		if status, took := poll(t.Context(), t, ck, "/cluster?wait=2s"); status != 200 || took != time.Second {
			t.Errorf("with the first map: %d after %s", status, took)
		}
		ck.EndPolls()
		if status, took := poll(t.Context(), t, ck, "/cluster?version=9&wait=2s"); status != 503 || took != 0 {
			t.Errorf("after the end of all polls: %d after %s", status, took)
		}
		if status, _ := poll(t.Context(), t, ck, "/cluster"); status != 200 {
			t.Errorf("no poll, after the end of all: %d", status)
		}
	})
}

// TestTheLeaderShowsAtTheEndOfAWait: no map tells of it.
func TestTheLeaderShowsAtTheEndOfAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ck, publish := pollNode(t)
		now := sight{publish(), "node-1"}
		c := condition{tags: []tag{now.tag()}, wait: 10 * time.Second}
		began := time.Now()
		look := func() sight {
			if time.Since(began) > time.Second {
				now.leader = "node-2"
			}
			return now
		}
		got, _, covered, err := ck.api.await(httptest.NewRequest(http.MethodGet, "/cluster", nil), c, look)
		if err != nil || covered || got.leader != "node-2" || time.Since(began) != c.wait {
			t.Errorf("%s, covered %v, %v after %s", got.leader, covered, err, time.Since(began))
		}
	})
}

// TestManyPollsAreOneRendering wakes a thousand, which are all told the same.
func TestManyPollsAreOneRendering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ck, publish := pollNode(t)
		known := publish().Version
		var shown atomic.Int64
		h := ck.api.handler("/test", ck.api.view(func(s sight) any {
			shown.Add(1)
			return s.m.Version
		}))
		const polls = 1000
		var wg sync.WaitGroup
		for range polls {
			wg.Go(func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/test?version=%d&wait=1m", known), nil))
				if want := fmt.Sprintln(known + 1); w.Code != 200 || w.Body.String() != want {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		publish()
		wg.Wait()
		if got := shown.Load(); got != 1 {
			t.Errorf("%d renderings for %d polls", got, polls)
		}
	})
}

// TestStopEndsPolls over real connections.
func TestStopEndsPolls(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.ready("node-1")
	c.settled(1)
	ck := c.nodes["node-1"]
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	const polls = 20
	ended := make(chan error, polls)
	for range polls {
		go func() {
			resp, err := client.Get(fmt.Sprintf("http://%s/partitions?wait=1m&version=%d", c.http["node-1"], ck.Map().Version+1000))
			if err == nil {
				err = resp.Body.Close()
				if resp.StatusCode != http.StatusServiceUnavailable {
					err = errors.New(resp.Status)
				}
			}
			ended <- err
		}()
	}
	c.eventually("polls", func() bool { return ck.api.requests.waiting.Load() == polls })
	began := time.Now()
	c.stop("node-1")
	if took := time.Since(began); took > stopTimeout/2 {
		t.Errorf("the stop took %s", took)
	}
	for range polls {
		if err := <-ended; err != nil {
			t.Errorf("a poll ended with %v", err)
		}
	}
}
