package dynamo

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"granary/kv"
)

// attributes is an item as the API has it.
type attributes = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func seconds(t time.Time) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(t.Unix(), 10)}
}

func encodeKey(k kv.Key) attributes {
	return attributes{"p": str(k.Partition), "s": str(k.Sort)}
}

// encode leaves out an empty value: not every service takes empty bytes.
func encode(i kv.Item) attributes {
	a := encodeKey(i.Key)
	a["n"] = str(string(i.Version))
	if len(i.Value) > 0 {
		a["v"] = &types.AttributeValueMemberB{Value: i.Value}
	}
	if !i.Expires.IsZero() {
		a["x"] = seconds(i.Expires)
	}
	return a
}

var errForeign = errors.New("not an item of granary's")

// decode is the inverse of encode.
func decode(a attributes) (kv.Item, error) {
	p, ok1 := a["p"].(*types.AttributeValueMemberS)
	s, ok2 := a["s"].(*types.AttributeValueMemberS)
	n, ok3 := a["n"].(*types.AttributeValueMemberS)
	if !ok1 || !ok2 || !ok3 {
		return kv.Item{}, fmt.Errorf("%w: it lacks p, s or n", errForeign)
	}
	i := kv.Item{Key: kv.Key{Partition: p.Value, Sort: s.Value}, Version: kv.Version(n.Value)}
	switch v := a["v"].(type) {
	case nil:
	case *types.AttributeValueMemberB:
		i.Value = v.Value
	default:
		return kv.Item{}, fmt.Errorf("%w: v of %v is not binary", errForeign, i.Key)
	}
	switch x := a["x"].(type) {
	case nil:
	case *types.AttributeValueMemberN:
		sec, err := strconv.ParseInt(x.Value, 10, 64)
		if err != nil {
			return kv.Item{}, fmt.Errorf("%w: x of %v: %w", errForeign, i.Key, err)
		}
		i.Expires = time.Unix(sec, 0)
	default:
		return kv.Item{}, fmt.Errorf("%w: x of %v is not a number", errForeign, i.Key)
	}
	return i, nil
}
