package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// The write isolation of Alternator tables: compare-and-swap for conditional
// writes, plain ones for what is always written blindly. See
// https://docs.scylladb.com/manual/stable/alternator/new-apis.html
const (
	isolationTag   = "system:write_isolation"
	isolation      = "only_rmw_uses_lwt"
	isolationShort = "o"
)

var (
	errNoTable = errors.New("the table does not exist: make it with `granary kv create-table`")
	errSchema  = errors.New("the table's keys are not granary's (partition key p and sort key s, both strings)")
)

// CreateTable makes the table, with on-demand billing, unless it exists, and
// turns its expiry on. A table that exists must have granary's keys.
func CreateTable(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	c, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.close()
	s := &Store{table: cfg.Table, now: cfg.Now, client: c}
	if err := s.create(ctx); err != nil {
		return fmt.Errorf("create table %q of DynamoDB: %w", cfg.Table, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context) error {
	d, err := s.describe(ctx)
	if errors.Is(err, errNoTable) {
		if err = s.make(ctx); err == nil {
			d, err = s.describe(ctx)
		}
	}
	if err != nil {
		return err
	}
	if err := checkSchema(d); err != nil {
		return err
	}
	if isAlternator(d) {
		if err := s.isolate(ctx, d); err != nil {
			return err
		}
	}
	return s.expire(ctx)
}

// make asks for the table; that another did so at the same time is fine.
func (s *Store) make(ctx context.Context) error {
	in := &dynamodb.CreateTableInput{
		TableName:   &s.table,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("p"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("s"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("p"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("s"), KeyType: types.KeyTypeRange},
		},
	}
	err := s.control(ctx, "CreateTable", blindly, func(ctx context.Context) error {
		_, err := s.client.api.CreateTable(ctx, in)
		return err
	})
	if _, ok := errors.AsType[*types.ResourceInUseException](err); ok {
		return nil
	}
	return err
}

// check refuses a table that the store can't be on, and finds out what the
// service is.
func (s *Store) check(ctx context.Context) error {
	d, err := s.describe(ctx)
	if err != nil {
		return err
	}
	if err := checkSchema(d); err != nil {
		return err
	}
	s.alternator = isAlternator(d)
	if !s.alternator {
		return nil
	}
	switch mode, err := s.isolationOf(ctx, d); {
	case err != nil:
		return err
	case mode != isolation && mode != isolationShort:
		return fmt.Errorf("the tag %s is %q, and granary needs %q: set it with `granary kv create-table` if it is missing, "+
			"and otherwise make another table", isolationTag, mode, isolation)
	}
	return nil
}

// describe waits until the table can be used.
func (s *Store) describe(ctx context.Context) (*types.TableDescription, error) {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		var d *types.TableDescription
		err := s.control(ctx, "DescribeTable", reads, func(ctx context.Context) error {
			out, err := s.client.api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.table})
			if err == nil {
				d = out.Table
			}
			return err
		})
		if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
			return nil, errNoTable
		}
		if err != nil {
			return nil, err
		}
		switch d.TableStatus {
		case types.TableStatusActive, types.TableStatusUpdating:
			return d, nil
		case types.TableStatusCreating:
		default:
			return nil, fmt.Errorf("the table's status is %s", d.TableStatus)
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("wait for the table to be created: %w", err)
		}
	}
}

func checkSchema(d *types.TableDescription) error {
	keys := map[types.KeyType]string{}
	for _, k := range d.KeySchema {
		keys[k.KeyType] = aws.ToString(k.AttributeName)
	}
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	if keys[types.KeyTypeHash] != "p" || keys[types.KeyTypeRange] != "s" ||
		kinds["p"] != types.ScalarAttributeTypeS || kinds["s"] != types.ScalarAttributeTypeS {
		return fmt.Errorf("%w but %v of %v", errSchema, keys, kinds)
	}
	return nil
}

// isAlternator goes by the table's resource name, which is ScyllaDB's own.
func isAlternator(d *types.TableDescription) bool {
	return strings.HasPrefix(aws.ToString(d.TableArn), "arn:scylla:")
}

// isolationOf returns the table's write isolation tag, "" if it has none: then
// the cluster's default holds, which no request tells.
func (s *Store) isolationOf(ctx context.Context, d *types.TableDescription) (string, error) {
	in := &dynamodb.ListTagsOfResourceInput{ResourceArn: d.TableArn}
	for {
		var out *dynamodb.ListTagsOfResourceOutput
		err := s.control(ctx, "ListTagsOfResource", reads, func(ctx context.Context) (err error) {
			out, err = s.client.api.ListTagsOfResource(ctx, in)
			return err
		})
		if err != nil {
			return "", err
		}
		for _, t := range out.Tags {
			if aws.ToString(t.Key) == isolationTag {
				return aws.ToString(t.Value), nil
			}
		}
		if out.NextToken == nil {
			return "", nil
		}
		in.NextToken = out.NextToken
	}
}

// isolate tags a table that has no write isolation of its own; one that has
// another may already be in use with it.
func (s *Store) isolate(ctx context.Context, d *types.TableDescription) error {
	mode, err := s.isolationOf(ctx, d)
	switch {
	case err != nil:
		return err
	case mode == isolation || mode == isolationShort:
		return nil
	case mode != "":
		return fmt.Errorf("the table exists with the tag %s=%s, and granary needs %s", isolationTag, mode, isolation)
	}
	return s.control(ctx, "TagResource", blindly, func(ctx context.Context) error {
		_, err := s.client.api.TagResource(ctx, &dynamodb.TagResourceInput{
			ResourceArn: d.TableArn,
			Tags:        []types.Tag{{Key: aws.String(isolationTag), Value: aws.String(isolation)}},
		})
		return err
	})
}

// expire turns the removal of expired items on. Reads hide them anyway, so that
// a service without it only needs more room: Amazon's must have it, others may
// say that they don't know the operation.
func (s *Store) expire(ctx context.Context) error {
	by, err := s.expiry(ctx)
	if err == nil && by == "" {
		err = s.control(ctx, "UpdateTimeToLive", blindly, func(ctx context.Context) error {
			_, err := s.client.api.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
				TableName:               &s.table,
				TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("x"), Enabled: aws.Bool(true)},
			})
			return err
		})
		if err != nil { // another may have done so at the same time
			if now, again := s.expiry(ctx); again == nil && now != "" {
				by, err = now, nil
			}
		}
	}
	switch {
	case err != nil && !s.client.amazon && isUnknownOperation(err):
		return nil
	case err != nil:
		return fmt.Errorf("turn expiry on: %w", err)
	case by != "" && by != "x":
		return fmt.Errorf("%w: its items expire by %q, not by x", errSchema, by)
	}
	return nil
}

// expiry returns the attribute that items expire by, "" where they don't.
func (s *Store) expiry(ctx context.Context) (string, error) {
	var d types.TimeToLiveDescription
	err := s.control(ctx, "DescribeTimeToLive", reads, func(ctx context.Context) error {
		out, err := s.client.api.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &s.table})
		if err == nil && out.TimeToLiveDescription != nil {
			d = *out.TimeToLiveDescription
		}
		return err
	})
	if d.TimeToLiveStatus != types.TimeToLiveStatusEnabled && d.TimeToLiveStatus != types.TimeToLiveStatusEnabling {
		return "", err
	}
	return aws.ToString(d.AttributeName), err
}

func isUnknownOperation(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (api.ErrorCode() == "UnknownOperationException" || api.ErrorCode() == "UnknownOperation")
}

// control runs an operation that consumes no capacity.
func (s *Store) control(ctx context.Context, operation string, e effect, send func(context.Context) error) error {
	_, err := s.client.run(ctx, operation, e, func(ctx context.Context) (float64, error) { return 0, send(ctx) })
	return err
}
