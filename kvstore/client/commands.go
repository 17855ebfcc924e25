package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// maxResultsBytes bounds the answer to a batch, or to several keys: the values
// in base64, and what stands around them.
const maxResultsBytes = api.MaxAnswerBytes*3/2 + api.MaxBatchCommands*256

// Batch executes commands on keys of one partition, as a whole or not at all,
// and returns one result for each. Keys with the same {tag} are of one
// partition. See the package comment for what its errors say;
// [api.ErrConditionFailed] names the command as its detail "command".
func (c *Client) Batch(ctx context.Context, commands ...api.Command) ([]api.Result, error) {
	results, err := c.batch(ctx, commands)
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	return results, nil
}

func (c *Client) batch(ctx context.Context, commands []api.Command) ([]api.Result, error) {
	for i := range commands {
		if err := CheckKey(string(commands[i].Key)); err != nil {
			return nil, err
		}
		if err := CheckValue(commands[i].Value); err != nil {
			return nil, err
		}
	}
	b := api.Batch{ID: c.ids.of(commands), Commands: commands}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	op, results := wantResults(len(commands))
	op.id = b.ID
	if slices.ContainsFunc(commands, writes) {
		_, err = c.write(ctx, http.MethodPost, api.PathBatch, body, op)
	} else {
		_, err = c.do(ctx, c.reads, http.MethodPost, api.PathBatch, body, op)
	}
	return *results, err
}

// wantResults returns an operation that is answered with so many results.
func wantResults(n int) (*operation, *[]api.Result) {
	var answer api.BatchAnswer
	return &operation{want: wantBody, maxAnswer: maxResultsBytes, decode: func(body []byte) error {
		answer = api.BatchAnswer{}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if len(answer.Results) != n {
			return fmt.Errorf("%d results, want %d", len(answer.Results), n)
		}
		return nil
	}}, &answer.Results
}

// Do executes one command. It is what the methods below are made of.
func (c *Client) Do(ctx context.Context, command api.Command) (api.Result, error) {
	results, err := c.batch(ctx, []api.Command{command})
	if err != nil {
		return api.Result{}, fmt.Errorf("%s %s: %w", command.Op, quote(string(command.Key)), err)
	}
	return results[0], nil
}

// SetOptions say when and for how long a value is set.
type SetOptions struct {
	// If is the condition; with [api.IfVersion], Version is the one wanted. One
	// that is not met makes the error [api.ErrConditionFailed].
	If      api.Condition
	Version string
	// TTL is after which time the value expires, 0 for never. KeepTTL leaves the
	// expiry as it is.
	TTL     time.Duration
	KeepTTL bool
}

// SetWith stores value under key as the options say, and returns its version.
func (c *Client) SetWith(ctx context.Context, key string, value []byte, o SetOptions) (version string, err error) {
	r, err := c.Do(ctx, api.Command{Op: api.OpSet, Key: []byte(key), Value: value, If: o.If, Version: o.Version, TTL: o.TTL.Milliseconds(), KeepTTL: o.KeepTTL})
	return r.Version, err
}

// DeleteVersion removes key if its value has the version, else the error is
// [api.ErrConditionFailed].
func (c *Client) DeleteVersion(ctx context.Context, key, version string) error {
	_, err := c.Do(ctx, api.Command{Op: api.OpDelete, Key: []byte(key), If: api.IfVersion, Version: version})
	return err
}

// Increment adds delta to the number that the value of key is in decimal, an
// absent one counting as 0, and returns the sum.
func (c *Client) Increment(ctx context.Context, key string, delta int64) (int64, error) {
	r, err := c.Do(ctx, api.Command{Op: api.OpIncrement, Key: []byte(key), Delta: delta})
	return r.Number, err
}

// Append appends value to the value of key, an absent one counting as empty, and
// returns the whole.
func (c *Client) Append(ctx context.Context, key string, value []byte) ([]byte, error) {
	r, err := c.Do(ctx, api.Command{Op: api.OpAppend, Key: []byte(key), Value: value})
	return r.Value, err
}

// Expire lets the value of key expire after ttl, or never if that is 0, and
// reports whether there is one.
func (c *Client) Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error) {
	r, err := c.Do(ctx, api.Command{Op: api.OpExpire, Key: []byte(key), TTL: ttl.Milliseconds()})
	return r.Found, err
}

// GetAndSet stores value under key and returns what was there before, if
// anything was.
func (c *Client) GetAndSet(ctx context.Context, key string, value []byte) (before []byte, found bool, err error) {
	r, err := c.Do(ctx, api.Command{Op: api.OpSet, Key: []byte(key), Value: value, Report: true})
	return r.Value, r.Found, err
}

// MGet returns what gets of the keys would, in their order, each linearizable by
// itself. The keys may be of any partitions; a result without Found is of a key
// that is absent.
func (c *Client) MGet(ctx context.Context, keys ...string) ([]api.Result, error) {
	request := api.Keys{Keys: make([][]byte, len(keys))}
	for i, key := range keys {
		if err := CheckKey(key); err != nil {
			return nil, fmt.Errorf("get several: %w", err)
		}
		request.Keys[i] = []byte(key)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	op, results := wantResults(len(keys))
	if _, err := c.do(ctx, c.reads, http.MethodPost, api.PathMGet, body, op); err != nil {
		return nil, fmt.Errorf("get several: %w", err)
	}
	return *results, nil
}
