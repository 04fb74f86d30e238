package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"granary/kv"
)

// batchSize is the most that one BatchWriteItem takes.
const batchSize = 25

// BatchPut implements [kv.Store]. Of items with the same key the last is
// written.
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	for _, item := range items {
		if err := kv.Check(item); err != nil {
			return err
		}
	}
	writes := make([]types.WriteRequest, 0, min(len(items), batchSize))
	for _, item := range lastOfEach(items) {
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: encode(stamped(item))}})
		if len(writes) == batchSize {
			if err := s.batch(ctx, writes); err != nil {
				return err
			}
			writes = writes[:0]
		}
	}
	if len(writes) == 0 {
		return nil
	}
	return s.batch(ctx, writes)
}

// lastOfEach drops items whose key comes again: the service refuses a batch
// with a key twice.
func lastOfEach(items []kv.Item) []kv.Item {
	last := make(map[kv.Key]int, len(items))
	for i, item := range items {
		last[item.Key] = i
	}
	if len(last) == len(items) {
		return items
	}
	kept := make([]kv.Item, 0, len(last))
	for i, item := range items {
		if last[item.Key] == i {
			kept = append(kept, item)
		}
	}
	return kept
}

var errUnprocessed = errors.New("items of a batch were left undone")

// batch sends writes, and what the service left of them undone, until nothing
// is left or it left everything too often in a row.
func (s *Store) batch(ctx context.Context, writes []types.WriteRequest) error {
	for n := 0; ; n++ {
		left, err := s.batchOnce(ctx, writes)
		if err != nil {
			return fmt.Errorf("put %d items: %w", len(writes), err)
		}
		if len(left) == 0 {
			return nil
		}
		s.client.count.throttles.Add(1)
		if len(left) < len(writes) {
			n = 0
		}
		if n >= s.client.retries {
			return fmt.Errorf("%w: %w: %d", kv.ErrThrottled, errUnprocessed, len(left))
		}
		s.client.count.retries.Add(1)
		if sleep(ctx, backoff(n)) != nil {
			return fmt.Errorf("%w: %d: %w", errUnprocessed, len(left), ctx.Err())
		}
		writes = left
	}
}

// batchOnce returns what was left undone.
func (s *Store) batchOnce(ctx context.Context, writes []types.WriteRequest) ([]types.WriteRequest, error) {
	in := &dynamodb.BatchWriteItemInput{
		RequestItems:           map[string][]types.WriteRequest{s.table: writes},
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}
	var left []types.WriteRequest
	_, err := s.client.run(ctx, "BatchWriteItem", blindly, func(ctx context.Context) (float64, error) {
		out, err := s.client.api.BatchWriteItem(ctx, in)
		if err != nil {
			return 0, err
		}
		left = out.UnprocessedItems[s.table]
		sum := 0.0
		for i := range out.ConsumedCapacity {
			sum += units(&out.ConsumedCapacity[i])
		}
		return sum, nil
	})
	return left, err
}
