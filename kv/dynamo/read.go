package dynamo

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"granary/kv"
)

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := kv.CheckKey(key); err != nil {
		return kv.Item{}, err
	}
	in := &dynamodb.GetItemInput{
		TableName:              &s.table,
		Key:                    encodeKey(key),
		ConsistentRead:         aws.Bool(kv.Resolve(opts).Consistent),
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}
	var found attributes
	_, err := s.client.run(ctx, "GetItem", reads, func(ctx context.Context) (float64, error) {
		out, err := s.client.api.GetItem(ctx, in)
		if err != nil {
			return 0, err
		}
		found = out.Item
		return units(out.ConsumedCapacity), nil
	})
	if err != nil {
		return kv.Item{}, fmt.Errorf("get %v: %w", key, err)
	}
	if len(found) == 0 {
		return kv.Item{}, kv.ErrNotFound
	}
	item, err := decode(found)
	if err != nil {
		return kv.Item{}, fmt.Errorf("get %v: %w", key, err)
	}
	if item.Expired(s.now()) {
		return kv.Item{}, kv.ErrNotFound
	}
	return item, nil
}

// Query implements [kv.Store]. The next page, of 1 MB at the most, is asked for
// when the items of the one before have been taken.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	r := kv.Resolve(opts)
	return func(yield func(kv.Item, error) bool) {
		if err := kv.CheckQuery(partition, from, to); err != nil {
			yield(kv.Item{}, err)
			return
		}
		if to != "" && from >= to { // which the service would refuse
			return
		}
		in := s.query(partition, from, to, r)
		for left := r.Limit; ; {
			in.Limit = pageLimit(left)
			page, next, err := s.page(ctx, in)
			if err != nil {
				yield(kv.Item{}, fmt.Errorf("query %q: %w", partition, err))
				return
			}
			for _, item := range page {
				if err := ctx.Err(); err != nil {
					yield(kv.Item{}, fmt.Errorf("query %q: %w", partition, err))
					return
				}
				if item.Expired(s.now()) || to != "" && item.Sort >= to {
					continue
				}
				if !yield(item, nil) {
					return
				}
				if left--; left == 0 { // 0 to begin with is no limit
					return
				}
			}
			if len(next) == 0 {
				return
			}
			in.ExclusiveStartKey = next
		}
	}
}

// query is the request for the first page. BETWEEN includes its end, which the
// caller drops.
func (s *Store) query(partition, from, to string, r kv.Read) *dynamodb.QueryInput {
	condition, values := "p = :p", attributes{":p": str(partition)}
	switch {
	case from != "" && to != "":
		condition += " AND s BETWEEN :from AND :to"
	case from != "":
		condition += " AND s >= :from"
	case to != "":
		condition += " AND s < :to"
	}
	if from != "" {
		values[":from"] = str(from)
	}
	if to != "" {
		values[":to"] = str(to)
	}
	in := &dynamodb.QueryInput{
		TableName:                 &s.table,
		KeyConditionExpression:    &condition,
		ExpressionAttributeValues: values,
		ConsistentRead:            aws.Bool(r.Consistent),
		ScanIndexForward:          aws.Bool(!r.Reverse),
		ReturnConsumedCapacity:    types.ReturnConsumedCapacityTotal,
	}
	if r.KeysOnly {
		in.ProjectionExpression = aws.String("p, s, n, x")
	}
	return in
}

// pageLimit asks for no more items than are left to yield; nil without a limit.
func pageLimit(left int) *int32 {
	if left <= 0 {
		return nil
	}
	return aws.Int32(int32(min(left, math.MaxInt32))) //nolint:gosec // bounded
}

// page returns the items of a page, and where the next begins.
func (s *Store) page(ctx context.Context, in *dynamodb.QueryInput) ([]kv.Item, attributes, error) {
	var out *dynamodb.QueryOutput
	_, err := s.client.run(ctx, "Query", reads, func(ctx context.Context) (float64, error) {
		var err error
		if out, err = s.client.api.Query(ctx, in); err != nil {
			return 0, err
		}
		return units(out.ConsumedCapacity), nil
	})
	if err != nil {
		return nil, nil, err
	}
	items := make([]kv.Item, len(out.Items))
	for i, a := range out.Items {
		if items[i], err = decode(a); err != nil {
			return nil, nil, err
		}
	}
	return items, out.LastEvaluatedKey, nil
}

// units is the capacity that a request consumed; not every service tells.
func units(cs ...*types.ConsumedCapacity) float64 {
	sum := 0.0
	for _, c := range cs {
		if c != nil {
			sum += aws.ToFloat64(c.CapacityUnits)
		}
	}
	return sum
}
