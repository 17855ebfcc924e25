package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestJudge(t *testing.T) {
	lost := errors.New("connection reset by peer")
	failed := func(code api.Code) *answer {
		return &answer{status: code.Status(), apiErr: api.Errorf(code, "no")}
	}
	cases := []struct {
		name        string
		sent        bool
		answer      *answer
		err         error
		read, write verdict
	}{
		{"no connection", false, nil, lost, again, again},
		{"no answer", true, nil, lost, again, unknown},
		{"value", true, &answer{status: 200, version: "1.1"}, nil, succeeded, unknown},
		{"stored", true, &answer{status: 204, version: "1.1"}, nil, refused, succeeded},
		{"page of something else", true, &answer{status: 200}, nil, refused, unknown},
		{"success without version", true, &answer{status: 204}, nil, refused, unknown},
		{"redirect", true, &answer{status: 307}, nil, refused, refused},
		{"not found by something else", true, &answer{status: 404}, nil, refused, refused},
		{"bad gateway", true, &answer{status: 502}, nil, again, unknown},
		{"unavailable, but who says so", true, &answer{status: 503}, nil, again, unknown},
		{"unavailable", true, failed(api.CodeUnavailable), nil, again, again},
		{"not primary", true, failed(api.CodeNotPrimary), nil, again, again},
		{"not found", true, failed(api.CodeNotFound), nil, refused, refused},
		{"bad request", true, failed(api.CodeBadRequest), nil, refused, refused},
		{"too large", true, failed(api.CodeTooLarge), nil, refused, refused},
		{"condition failed", true, failed(api.CodeConditionFailed), nil, refused, refused},
		{"forbidden", true, failed(api.CodeForbidden), nil, refused, refused},
		{"unauthenticated", true, failed(api.CodeUnauthenticated), nil, refused, refused},
		{"conflict", true, failed(api.CodeConflict), nil, refused, refused},
		{"outcome unknown", true, failed(api.CodeOutcomeUnknown), nil, again, unknown},
		{"a code from the future", true, failed("melted"), nil, again, unknown},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for _, write := range []bool{false, true} {
				a := attempt{write: write, want: wantVersion, sent: tc.sent, answer: tc.answer, err: tc.err}
				got, err := a.judge()
				want := tc.read
				if write {
					want = tc.write
				}
				if got != want {
					t.Errorf("write=%v: verdict %d, want %d", write, got, want)
				}
				if (err == nil) != (got == succeeded) {
					t.Errorf("write=%v: verdict %d with error %v", write, got, err)
				}
				if !write && errors.Is(err, api.ErrOutcomeUnknown) {
					t.Errorf("a read has no unknown outcome: %v", err)
				}
			}
		})
	}
}

func TestIsCertain(t *testing.T) {
	cases := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("something else"), false},
		{fmt.Errorf("set: %w", api.ErrUnavailable), true},
		{api.ErrNotFound, true},
		{fmt.Errorf("set: %w: %w", api.ErrOutcomeUnknown, api.ErrUnavailable), false},
		{api.Errorf("melted", "no"), false},
	}
	for _, tc := range cases {
		if got := IsCertain(tc.err); got != tc.want {
			t.Errorf("IsCertain(%v) = %v, want %v", tc.err, got, tc.want)
		}
	}
}

// Whatever decodes as an error has a code and survives the wire.
func FuzzDecodeError(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"too_large","message":"m","details":{"limit":"4096"}}}`))
	f.Add([]byte(`{"error":null}`))
	f.Add([]byte(`404 page not found`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := decodeError(body)
		if e == nil {
			return
		}
		again, err := json.Marshal(api.ErrorBody{Error: e})
		if err != nil || e.Code == "" {
			t.Fatalf("decoded %+v, %v", e, err)
		}
		if got := decodeError(again); got == nil || got.Code != e.Code || got.Message != e.Message {
			t.Errorf("%s decodes to %+v, want %+v", again, got, e)
		}
	})
}
