package kvstore

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// mgetAtOnce is how many partitions one request reads at a time.
const mgetAtOnce = 8

// MGet returns the states of 1 to [api.MaxBatchCommands] keys of any partitions,
// in the order of the keys. Each is read linearizably, and those of one
// partition as of one instant. The key of the request does not matter.
func (rt *Router) MGet(ctx context.Context, req Request, keys [][]byte) ([]api.Result, error) {
	if len(keys) == 0 || len(keys) > api.MaxBatchCommands {
		return nil, api.Errorf(api.CodeBadRequest, "keys: there are %d, give 1 to %d", len(keys), api.MaxBatchCommands)
	}
	byPartition := map[int][]int{}
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		part, err := rt.partition(key)
		if err != nil {
			return nil, err
		}
		byPartition[part] = append(byPartition[part], i)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		results = make([]api.Result, len(keys))
		size    atomic.Int64
		slots   = make(chan struct{}, mgetAtOnce)
		wg      sync.WaitGroup
		failure error // the first; the others end because of it
		once    sync.Once
	)
	for _, of := range byPartition {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := rt.readInto(ctx, req, keys, of, results, &size); err != nil {
				once.Do(func() { failure = err })
				cancel()
			}
		})
	}
	wg.Wait()
	if failure != nil {
		return nil, failure
	}
	return results, nil
}

// readInto reads the keys of one partition, which have the indexes of.
func (rt *Router) readInto(ctx context.Context, req Request, keys [][]byte, of []int, into []api.Result, size *atomic.Int64) error {
	b := api.Batch{Commands: make([]api.Command, len(of))}
	for i, k := range of {
		b.Commands[i] = api.Command{Op: api.OpGet, Key: keys[k]}
	}
	results, err := rt.Execute(ctx, req, b)
	if err != nil {
		return err
	}
	for i, k := range of {
		into[k] = results[i]
		if size.Add(int64(len(results[i].Value))) > api.MaxAnswerBytes {
			return api.Errorf(api.CodeTooLarge, "keys: the values have more than %d bytes together: ask for fewer keys", api.MaxAnswerBytes)
		}
	}
	return nil
}
