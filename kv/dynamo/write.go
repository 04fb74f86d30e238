package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"granary/kv"
)

const (
	// ifAbsent also holds for an expired item, and for what an earlier sending
	// of the same write has left.
	ifAbsent = "attribute_not_exists(p) OR x <= :now OR n = :new"
	// ifVersion holds for a live item of the old version, and likewise.
	ifVersion = "n = :old AND (attribute_not_exists(x) OR x > :now) OR n = :new"
	// ifDelete holds for a live item of the old version.
	ifDelete = "n = :old AND (attribute_not_exists(x) OR x > :now)"
)

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	if err := kv.Check(item); err != nil {
		return err
	}
	_, err := s.put(ctx, blindly, &dynamodb.PutItemInput{Item: encode(stamped(item))})
	if err != nil {
		return fmt.Errorf("put %v: %w", item.Key, err)
	}
	return nil
}

// stamped gives a blind write the version that its caller did without.
func stamped(item kv.Item) kv.Item {
	if item.Version == "" {
		item.Version = kv.NewVersion()
	}
	return item
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := kv.CheckWrite(item); err != nil {
		return err
	}
	condition, values := ifAbsent, attributes{":now": seconds(s.now()), ":new": str(string(item.Version))}
	if old != "" {
		condition, values[":old"] = ifVersion, str(string(old))
	}
	_, err := s.put(ctx, settling, &dynamodb.PutItemInput{
		Item:                                encode(item),
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return s.conflict(item.Key, old, failed)
	}
	if err != nil {
		return fmt.Errorf("put %v: %w", item.Key, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, e effect, in *dynamodb.PutItemInput) (doubtful bool, err error) {
	in.TableName, in.ReturnConsumedCapacity = &s.table, types.ReturnConsumedCapacityTotal
	return s.client.run(ctx, "PutItem", e, func(ctx context.Context) (float64, error) {
		out, err := s.client.api.PutItem(ctx, in)
		if err != nil {
			return 0, err
		}
		return units(out.ConsumedCapacity), nil
	})
}

// conflict is the error of a write that named old.
func (s *Store) conflict(key kv.Key, old kv.Version, failed *types.ConditionalCheckFailedException) error {
	c := &kv.ConflictError{Key: key}
	if len(failed.Item) == 0 {
		c.Absent = old != "" && s.tellsOld.Load()
		return c
	}
	if !s.alternator { // whose nodes may differ in this while they are upgraded
		s.tellsOld.Store(true)
	}
	item, err := decode(failed.Item)
	switch {
	case err != nil:
		return fmt.Errorf("conflict at %v: %w", key, err)
	case !item.Expired(s.now()):
		c.Current = &item
	default:
		// With old "" it has expired since the request was made.
		c.Absent = old != ""
	}
	return c
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	if _, err := s.remove(ctx, blindly, &dynamodb.DeleteItemInput{Key: encodeKey(key)}); err != nil {
		return fmt.Errorf("delete %v: %w", key, err)
	}
	return nil
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	if old == "" {
		return fmt.Errorf("%w: conditional delete without a version at %v", kv.ErrInvalid, key)
	}
	condition := ifDelete
	doubtful, err := s.remove(ctx, settling, &dynamodb.DeleteItemInput{
		Key:                                 encodeKey(key),
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           attributes{":now": seconds(s.now()), ":old": str(string(old))},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		err = s.conflict(key, old, failed)
		if doubtful {
			err = s.settleDelete(ctx, key, err)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("delete %v: %w", key, err)
	}
	return nil
}

// settleDelete decides a delete that conflicts after an earlier sending of it
// may have been carried out: it was, if there is no item.
func (s *Store) settleDelete(ctx context.Context, key kv.Key, conflict error) error {
	current, err := kv.Current(ctx, s, key, conflict)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("%w: delete %v: %w", kv.ErrUnknown, key, err)
	}
	return &kv.ConflictError{Key: key, Current: &current}
}

func (s *Store) remove(ctx context.Context, e effect, in *dynamodb.DeleteItemInput) (doubtful bool, err error) {
	in.TableName, in.ReturnConsumedCapacity = &s.table, types.ReturnConsumedCapacityTotal
	return s.client.run(ctx, "DeleteItem", e, func(ctx context.Context) (float64, error) {
		out, err := s.client.api.DeleteItem(ctx, in)
		if err != nil {
			return 0, err
		}
		return units(out.ConsumedCapacity), nil
	})
}
