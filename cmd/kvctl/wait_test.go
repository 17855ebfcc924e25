package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// answers are what a node says of itself, one after the other and the last for
// ever.
type answers struct {
	bodies []string
	asked  int
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	body := a.bodies[min(a.asked, len(a.bodies)-1)]
	a.asked++
	return &http.Response{StatusCode: http.StatusOK, Request: req, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// Balanced is a cluster only when it has been so for as long as the planner may
// take to find that it is not any more; healthy it is at once.
func TestBalancedIsWhatLasts(t *testing.T) {
	for _, test := range []struct {
		goal   string
		moving []int
		asked  int
	}{
		{"healthy", []int{0}, 1},
		{"balanced", []int{0}, 4},
		{"balanced", []int{0, 0, 0, 5, 3, 0}, 9},
	} {
		t.Run(fmt.Sprint(test.goal, " ", test.moving), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var node answers
				for _, n := range test.moving {
					node.bodies = append(node.bodies, fmt.Sprintf(`{"partitions": 16, "moving": %d}`, n))
				}
				a := &admin{[]string{"node:8080"}, &http.Client{Transport: &node}}
				if err := a.waitFor(t.Context(), goals[test.goal]); err != nil {
					t.Fatal(err)
				}
				if node.asked != test.asked {
					t.Errorf("it was asked %d times, want %d", node.asked, test.asked)
				}
			})
		})
	}
}
