package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// counted returns the sum of a counter of a node over all labels, or one series of
// it.
func counted(t *testing.T, ctx context.Context, n *localcluster.Node, name string) float64 {
	t.Helper()
	sum, err := sumOf(ctx, n, name)
	must(t, name, err)
	return sum
}

func sumOf(ctx context.Context, n *localcluster.Node, name string) (sum float64, err error) {
	text, err := get(ctx, "http://"+n.HTTPAddr+"/metrics")
	if err != nil {
		return 0, err
	}
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if base, _, _ := strings.Cut(series, "{"); base != name && series != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no such metric", n.ID)
	}
	return sum, nil
}

// get returns what a node answers, and keeps no connection.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %s", url, resp.Status, body)
	}
	return body, err
}
