// Package dynamo is a [kv.Store] on one table of DynamoDB, or of a service with
// its API: ScyllaDB Alternator, DynamoDB Local.
//
// # Table
//
// The table has a partition key p and a sort key s, both strings, and the
// attributes v (bytes, absent when empty), n (version) and x (expiry in seconds
// since 1970, absent when never). [CreateTable] makes it; [Open] never does.
//
// # What is asked of the service
//
// Single-item conditions, queries of one partition, batches of blind puts. No
// transactions, no indexes, no PartiQL, so that Alternator will do. The old
// item that came with a failed condition is used where the service sends it.
//
// # Unknown outcomes
//
// A conditional write whose answer was lost is sent again until the service
// says that it succeeded or that it conflicts; that is safe because the
// condition holds for the version that the write itself has left. Only the end
// of the context ends that, with [kv.ErrUnknown]. Reads and blind writes are
// sent again a bounded number of times. The SDK's own retries are off.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"

	"granary/kv"
)

// Config says where the table is. Credentials come from the SDK's default
// chain.
type Config struct {
	// Table is the table's name. Required.
	Table string
	// Region of the table. Optional where the SDK's configuration names one,
	// and with an endpoint.
	Region string
	// Endpoint is the URL of a service other than Amazon's. Optional.
	Endpoint string
	// MaxRetries is how often a request is sent again, except to settle what
	// became of a conditional write. Optional: 0 means 10; negative: never.
	MaxRetries int
	// ConnectTimeout bounds the making of a connection. Optional: 2 s.
	ConnectTimeout time.Duration
	// ReadTimeout bounds the wait for an answer on a connection. Optional: 10 s.
	ReadTimeout time.Duration
	// Now is the clock that expiry goes by. Optional.
	Now func() time.Time
	// Observe is told of each request when it has ended; it must not block.
	// Optional.
	Observe func(context.Context, Event)
}

func (c Config) withDefaults() (Config, error) {
	if c.Table == "" {
		return c, errors.New("dynamo: no table: set kv.dynamodb.table")
	}
	switch {
	case c.MaxRetries == 0:
		c.MaxRetries = 10
	case c.MaxRetries < 0:
		c.MaxRetries = 0
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Store is a [kv.Store]. Open it with [Open].
type Store struct {
	table      string
	now        func() time.Time
	client     *client
	alternator bool
	// tellsOld is set once a failed condition is known to bring the old item,
	// so that one without it means that there is none.
	tellsOld atomic.Bool
}

var (
	_ kv.Store   = (*Store)(nil)
	_ kv.Traiter = (*Store)(nil)
)

// Open returns the store on a table that [CreateTable] has made. It refuses a
// missing table, one with another key schema, and on Alternator one whose
// writes are isolated in another way than package kv relies on.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{table: cfg.Table, now: cfg.Now, client: c}
	if err := s.check(ctx); err != nil {
		c.close()
		return nil, fmt.Errorf("open table %q of DynamoDB: %w", cfg.Table, err)
	}
	s.tellsOld.Store(c.amazon && !s.alternator)
	return s, nil
}

// Close gives the connections back that no request uses.
func (s *Store) Close() { s.client.close() }

// Traits implements [kv.Traiter]. Alternator queues compare-and-swaps by
// partition, hence more shards, and reads with a quorum whatever is asked.
func (s *Store) Traits() kv.Traits {
	t := kv.Traits{Inline: 4 << 10, Shards: 64}
	if s.alternator {
		t.Shards, t.AlwaysConsistent = 256, true
	}
	return t
}

// Alternator reports whether the service is ScyllaDB's.
func (s *Store) Alternator() bool { return s.alternator }

// Stats returns what was counted since Open.
func (s *Store) Stats() Stats { return s.client.count.snapshot() }

// connect makes the client of one table.
func connect(ctx context.Context, cfg Config) (*client, error) {
	// What goes wrong is returned: the SDK has nothing to print.
	load := []func(*awsconfig.LoadOptions) error{awsconfig.WithLogger(logging.Nop{})}
	if cfg.Region != "" {
		load = append(load, awsconfig.WithRegion(cfg.Region))
	}
	ac, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	c := newClient(cfg)
	c.api = dynamodb.NewFromConfig(ac, func(o *dynamodb.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = "us-east-1" // signed with, and of no other meaning to other services
		}
		// Alternator sends no checksums, which the SDK takes for wrong ones.
		o.DisableValidateResponseChecksum = o.BaseEndpoint != nil
		o.HTTPClient = c.sender
		o.Retryer = aws.NopRetryer{}
	})
	o := c.api.Options()
	if o.Region == "" {
		return nil, errors.New("dynamo: no region: set kv.dynamodb.region or AWS_REGION")
	}
	if _, err := o.Credentials.Retrieve(ctx); err != nil { // now, once, and not with each request
		return nil, fmt.Errorf("dynamo: no AWS credentials: %w", err)
	}
	c.amazon = o.BaseEndpoint == nil
	return c, nil
}
