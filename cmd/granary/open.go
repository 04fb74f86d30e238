package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"granary/blob"
	"granary/blob/check"
	"granary/blob/fs"
	"granary/blob/s3"
	"granary/kv"
	"granary/kv/dynamo"
	"granary/kv/pebble"
	"granary/repo/config"
)

// database is a key-value store that can be closed.
type database interface {
	kv.Store
	io.Closer
}

func openKV(ctx context.Context, c *Config, log *slog.Logger, compacted func(time.Duration, error)) (database, error) {
	if c.KV.Type == "pebble" {
		return pebble.Open(filepath.Join(c.Data, "kv"), pebble.Options{Logger: log, Now: wallClock, Compacted: compacted})
	}
	if c.KV.DynamoDB.CreateTable {
		if err := dynamo.CreateTable(ctx, dynamoConfig(c)); err != nil {
			return nil, err
		}
	}
	s, err := dynamo.Open(ctx, dynamoConfig(c))
	if err != nil {
		return nil, err
	}
	return connection{s}, nil
}

// connection closes as a database does.
type connection struct{ *dynamo.Store }

func (c connection) Close() error {
	c.Store.Close()
	return nil
}

func dynamoConfig(c *Config) dynamo.Config {
	d := c.KV.DynamoDB
	return dynamo.Config{
		Table: d.Table, Region: d.Region, Endpoint: d.Endpoint, MaxRetries: d.MaxRetries,
		ConnectTimeout: d.ConnectTimeout, ReadTimeout: d.ReadTimeout, Now: wallClock,
	}
}

// openStore opens a blob store that was made; parts is what its uploads take
// memory from, nil for memory of its own.
func openStore(ctx context.Context, s *config.Store, parts *s3.Memory) (blob.Store, error) {
	if s.Type == config.File {
		return openFolder(s, true)
	}
	return openBucket(ctx, s, parts)
}

func openFolder(s *config.Store, existing bool) (blob.Store, error) {
	return fs.Open(fs.Config{Root: s.Root, Existing: existing, Sync: s.Sync, IOSize: int(s.IOSize) << 10, DirectIO: s.DirectIO, Now: wallClock})
}

func openBucket(ctx context.Context, s *config.Store, parts *s3.Memory) (blob.Store, error) {
	secret, err := s.SecretKey.Reveal()
	if err != nil {
		return nil, fmt.Errorf("secret key of store %s: %w", s.Name, err)
	}
	return s3.Open(ctx, s3.Config{
		Bucket: s.Bucket, Endpoint: s.Endpoint, Region: s.Region, Prefix: s.Prefix, AccessKey: s.AccessKey, SecretKey: secret,
		MaxRetries: int(s.MaxRetries), ConnectTimeout: time.Duration(s.ConnectTimeout) * time.Second,
		ReadTimeout: time.Duration(s.ReadTimeout) * time.Second, RetryMode: string(s.RetryMode), Memory: parts, Now: wallClock,
	})
}

func prefixes(key string, list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no network such as 10.0.0.0/8", key, s)
		}
		out = append(out, p)
	}
	return out, nil
}

func openNew(ctx context.Context, s *config.Store) (blob.Store, error) {
	if s.Type == config.File {
		return openFolder(s, false)
	}
	return openBucket(ctx, s, nil)
}

// probe tells whether a new or changed store works, before it is used. A folder
// that is missing is made.
func probe(ctx context.Context, s *config.Store) error {
	bs, err := openNew(ctx, s)
	if err != nil {
		return err
	}
	return check.Probe(ctx, bs)
}
