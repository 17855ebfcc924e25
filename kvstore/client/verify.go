package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const maxVerificationBytes = 1 << 20

// Verify compares the in-sync copies of a partition, like "partition-5", with
// what is on their disks, while it serves. That takes as long as reading all of
// them, at a limited rate: choose [Config.Timeout] for it. It has no effect but
// that copies which are certainly bad are made anew, so every transient failure
// is retried. [api.ErrNotFound] is returned for a partition that does not exist.
func (c *Client) Verify(ctx context.Context, partition string) (api.Verification, error) {
	var v api.Verification
	op := &operation{probe: true, maxAnswer: maxVerificationBytes, decode: func(body []byte) error { return json.Unmarshal(body, &v) }}
	if _, err := c.do(ctx, c.writes, http.MethodPost, api.PathPartitions+url.PathEscape(partition)+api.Verify, nil, op); err != nil {
		return api.Verification{}, fmt.Errorf("verify %s: %w", quote(partition), err)
	}
	return v, nil
}
