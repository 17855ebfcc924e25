package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// ScanOptions say how a scan goes about it. The zero value is a strict scan of
// everything.
type ScanOptions struct {
	// PageItems is how many items are asked for at a time, up to
	// [api.MaxScanItems]. Default 512.
	PageItems int
	// Newer lets the scan go on with a newer snapshot of the partition, behind the
	// items that it has had, when its snapshot is gone, as when the partition has
	// moved, rather than end with [api.ErrSnapshotGone]. What was there during the
	// whole scan is then still found exactly once.
	Newer bool
}

const defaultPageItems = 512

// Item is a key and its value.
type Item struct {
	Key string
	Value
}

// Scan returns an iterator over the keys with a prefix, "" being all, and their
// values. They come partition after partition, within one in order of their keys,
// and each partition is shown as it was at one instant during the scan; two
// partitions may be shown as of two instants. Keys of one {tag} are of one
// partition, so a prefix with a whole tag is shown as of one instant. An error
// is the last that the iterator yields. A page that is not asked for in time
// (see the cluster's design) costs the snapshot: to do long work on each item,
// collect them first.
func (c *Client) Scan(ctx context.Context, prefix string, o ScanOptions) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if len(prefix) > api.MaxKeyBytes {
			yield(Item{}, fmt.Errorf("scan: %w", tooLarge("prefix", api.MaxKeyBytes)))
			return
		}
		query := url.Values{api.QueryPrefix: {prefix}, api.QueryLimit: {strconv.Itoa(o.pageItems())}}
		if o.Newer {
			query.Set(api.QueryNewer, "true")
		}
		for {
			page, err := c.scanPage(ctx, query)
			if err != nil {
				yield(Item{}, fmt.Errorf("scan %s: %w", quote(prefix), err))
				return
			}
			for _, i := range page.Items {
				v := Value{Data: i.Value, Version: i.Version, TTL: time.Duration(i.TTL) * time.Millisecond}
				if !yield(Item{string(i.Key), v}, nil) {
					return
				}
			}
			if page.Cursor == "" {
				return
			}
			query.Del(api.QueryPrefix) // the cursor has it
			query.Set(api.QueryCursor, page.Cursor)
		}
	}
}

func (o ScanOptions) pageItems() int {
	if o.PageItems == 0 {
		return defaultPageItems
	}
	return o.PageItems
}

// maxPageBytes bounds a page: its values and keys in base64, of which the last
// item may be beyond the limit, and what stands around them.
const maxPageBytes = 2*(api.MaxScanBytes+api.MaxValueBytes+api.MaxKeyBytes) + api.MaxScanItems*256 + api.MaxCursorBytes

func (c *Client) scanPage(ctx context.Context, query url.Values) (page api.ScanAnswer, err error) {
	op := &operation{want: wantBody, maxAnswer: maxPageBytes, decode: func(body []byte) error {
		page = api.ScanAnswer{}
		if err := json.Unmarshal(body, &page); err != nil {
			return err
		}
		if page.Cursor == query.Get(api.QueryCursor) && page.Cursor != "" {
			return errors.New("the scan does not get on")
		}
		return nil
	}}
	_, err = c.do(ctx, c.reads, http.MethodGet, api.PathScan+"?"+query.Encode(), nil, op)
	return page, err
}
