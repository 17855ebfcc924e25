package resp

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// go-redis repeats by itself what was certainly not executed, and not a write
// of which nobody knows.
func TestWhatGoRedisRepeats(t *testing.T) {
	for _, tc := range []struct {
		err   error
		tries int64
	}{
		{api.ErrOutcomeUnknown, 1},
		{api.Errorf(api.CodeBadRequest, "no"), 1},
		{api.ErrUnavailable, 4},
	} {
		s := newStore()
		s.failure = tc.err
		var known atomic.Pointer[clusterkit.Map]
		_, addr := serve(t, polledConns, s, func(o *Options) { o.Map = known.Load })
		m := testMap()
		for i := range m.Nodes {
			m.Nodes[i].Services = map[string]string{Service: addr}
		}
		known.Store(m)
		cl := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})
		err := errors.Join(cl.Incr(t.Context(), "0").Err(), cl.Close())
		if err == nil || s.requests.Load() != tc.tries {
			t.Errorf("%v: %d tries, want %d; %v", tc.err, s.requests.Load(), tc.tries, err)
		}
		if unknown := errors.Is(tc.err, api.ErrOutcomeUnknown); strings.HasPrefix(err.Error(), "UNKNOWN ") != unknown {
			t.Errorf("%v reads %v", tc.err, err)
		}
	}
}
