package rest

import (
	"context"
	"path/filepath"

	"granary/repo/config"
)

// Store is a store as clients see it. Keys of the other type are absent, and
// the secret key always is.
type Store struct {
	Name      string `json:"name"`
	StoreType string `json:"store_type" enum:"file,s3"`

	Root     *string `json:"root,omitempty"`
	Sync     *bool   `json:"sync,omitempty"`
	IOSize   *int64  `json:"io_size,omitempty" doc:"KiB"`
	DirectIO *bool   `json:"direct_io,omitempty"`

	Bucket             *string `json:"bucket,omitempty"`
	Endpoint           *string `json:"endpoint,omitempty"`
	Region             *string `json:"region,omitempty"`
	Prefix             *string `json:"prefix,omitempty"`
	AccessKey          *string `json:"access_key,omitempty"`
	MaxRetries         *int64  `json:"max_retries,omitempty"`
	ConnectTimeoutSecs *int64  `json:"connect_timeout_secs,omitempty"`
	ReadTimeoutSecs    *int64  `json:"read_timeout_secs,omitempty"`
	RetryMode          *string `json:"retry_mode,omitempty"`

	CreatedAt  Timestamp `json:"created_at"`
	BlobCount  *int64    `json:"blob_count,omitempty"`
	TotalBytes *int64    `json:"total_bytes,omitempty"`
}

// StoreFields are the fields that can be set and changed.
type StoreFields struct {
	Root               optional[string] `json:"root,omitempty"`
	Sync               optional[bool]   `json:"sync,omitempty"`
	IOSize             optional[int64]  `json:"io_size,omitempty"`
	DirectIO           optional[bool]   `json:"direct_io,omitempty"`
	Bucket             optional[string] `json:"bucket,omitempty"`
	Endpoint           optional[string] `json:"endpoint,omitempty"`
	Region             optional[string] `json:"region,omitempty"`
	Prefix             optional[string] `json:"prefix,omitempty"`
	AccessKey          optional[string] `json:"access_key,omitempty"`
	SecretKey          optional[string] `json:"secret_key,omitempty"`
	MaxRetries         optional[int64]  `json:"max_retries,omitempty"`
	ConnectTimeoutSecs optional[int64]  `json:"connect_timeout_secs,omitempty"`
	ReadTimeoutSecs    optional[int64]  `json:"read_timeout_secs,omitempty"`
	RetryMode          optional[string] `json:"retry_mode,omitempty"`
}

// CreateStoreRequest is the body that makes a store.
type CreateStoreRequest struct {
	Name      string `json:"name"`
	StoreType string `json:"store_type" enum:"file,s3"`
	StoreFields
}

// UpdateStoreRequest is the body that changes a store. Name and type may be
// sent as they are.
type UpdateStoreRequest struct {
	Name      optional[string] `json:"name,omitempty"`
	StoreType optional[string] `json:"store_type,omitempty"`
	StoreFields
}

// apply puts the fields of a body into the document; null is the default of
// the store's type.
func (in *StoreFields) apply(s *config.Store) error {
	def := config.NewStore(s.Type)
	plain(in.Root, &s.Root, def.Root)
	if in.Root.set && s.Root != "" && !filepath.IsAbs(s.Root) {
		// The next start may be in another folder.
		root, err := filepath.Abs(s.Root)
		if err != nil {
			return invalid("root", "must be absolute: %s", err)
		}
		s.Root = root
	}
	plain(in.Sync, &s.Sync, def.Sync)
	plain(in.IOSize, &s.IOSize, def.IOSize)
	plain(in.DirectIO, &s.DirectIO, def.DirectIO)
	plain(in.Bucket, &s.Bucket, def.Bucket)
	plain(in.Endpoint, &s.Endpoint, def.Endpoint)
	plain(in.Region, &s.Region, def.Region)
	plain(in.Prefix, &s.Prefix, def.Prefix)
	plain(in.AccessKey, &s.AccessKey, def.AccessKey)
	plain(in.MaxRetries, &s.MaxRetries, def.MaxRetries)
	plain(in.ConnectTimeoutSecs, &s.ConnectTimeout, def.ConnectTimeout)
	plain(in.ReadTimeoutSecs, &s.ReadTimeout, def.ReadTimeout)
	plain(retyped[config.RetryMode](in.RetryMode), &s.RetryMode, def.RetryMode)
	switch k := in.SecretKey; {
	case k.set && k.value == config.Mask:
		if s.SecretKey.IsZero() {
			return invalid("secret_key", "there is no stored key that %s could stand for", config.Mask)
		}
	case k.set:
		s.SecretKey = config.NewSecret(k.value)
	}
	return nil
}

// showStore is the document without its counts.
func showStore(c *config.Store) Store {
	s := Store{Name: c.Name, StoreType: string(c.Type), CreatedAt: Timestamp(c.Created)}
	switch c.Type {
	case config.File:
		s.Root, s.Sync, s.IOSize, s.DirectIO = &c.Root, &c.Sync, &c.IOSize, &c.DirectIO
	case config.S3:
		mode := string(c.RetryMode)
		s.Bucket, s.Endpoint, s.Region, s.Prefix, s.AccessKey = &c.Bucket, filled(c.Endpoint), &c.Region, filled(c.Prefix), filled(c.AccessKey)
		s.MaxRetries, s.ConnectTimeoutSecs, s.ReadTimeoutSecs, s.RetryMode = &c.MaxRetries, &c.ConnectTimeout, &c.ReadTimeout, &mode
	}
	return s
}

func (a *api) countedStore(ctx context.Context, c *config.Store) Store {
	s := showStore(c)
	if a.StoreUsage != nil {
		if n, bytes, ok := a.StoreUsage(ctx, c.ID); ok {
			s.BlobCount, s.TotalBytes = &n, &bytes
		}
	}
	return s
}
