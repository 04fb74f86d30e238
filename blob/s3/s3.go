// Package s3 keeps blobs as objects of a bucket: <prefix><aa>/<bb>/<id>.
//
// A blob of up to a part is one PUT; a longer one is a multipart upload whose
// parts grow with the offset, so that 10,000 of them reach 5 TiB, and which is
// aborted when it fails. Objects are created with If-None-Match: *. S3 has no
// rename, and none is needed. Any store with the S3 API will do; what one does
// not implement of the rest is done without.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"granary/blob"
)

const (
	defaultPart = 8 << 20
	// maxSize is the longest object, in bytes.
	maxSize = 5 << 40
	// maxIdle is how many connections are kept for the next request.
	maxIdle = 64
	// cleanTimeout is how long an abort may take that outlives its request.
	cleanTimeout = 30 * time.Second
)

// Config says which bucket, and how it is reached.
type Config struct {
	Bucket string
	// Endpoint is the URL of the store, whose buckets are addressed by path.
	// Empty is AWS.
	Endpoint string
	// Region is us-east-1 if empty.
	Region string
	// Prefix stands before every key. Others may use the rest of the bucket.
	Prefix string
	// AccessKey and SecretKey are the credentials; without an access key the
	// SDK's default chain finds them.
	AccessKey, SecretKey string
	// MaxRetries is how often a failed request is sent again.
	MaxRetries int
	// ConnectTimeout bounds connecting; 0 is 3 s.
	ConnectTimeout time.Duration
	// ReadTimeout is how long a connection may be silent while an answer is
	// awaited or read; 0 is no limit.
	ReadTimeout time.Duration
	// RetryMode is standard, which it is if empty, or adaptive.
	RetryMode string
	// Memory is what parts under way take their memory from; all stores of a
	// process share one. Nil is DefaultMemory for this store alone.
	Memory *Memory
	// Now is the clock for stores whose answers have no date; nil is time.Now.
	Now func() time.Time
}

// Store keeps blobs in a bucket.
type Store struct {
	cfg    Config
	client *s3.Client
	memory *Memory
	part   int64 // bytes of the first parts of a multipart upload
}

var (
	_ blob.Store       = (*Store)(nil)
	_ blob.Presigner   = (*Store)(nil)
	_ blob.ManyDeleter = (*Store)(nil)
	_ blob.Putter      = (*Store)(nil)
)

// Open checks the configuration and finds credentials. It asks the bucket
// nothing: a store that is away for now can be opened.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
	}
	chain, err := credentialsOf(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: find credentials: %w", cfg.Bucket, err)
	}
	s := &Store{cfg: cfg, memory: cfg.Memory, part: defaultPart}
	if s.memory == nil {
		s.memory = NewMemory(DefaultMemory)
	}
	client := awshttp.NewBuildableClient().WithReadTimeout(cfg.ReadTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = cfg.ConnectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost, t.DisableCompression = maxIdle, maxIdle, true
		})
	s.client = s3.New(s3.Options{
		Region:       cfg.Region,
		Credentials:  chain,
		HTTPClient:   client.Freeze(),
		UsePathStyle: cfg.Endpoint != "",
		BaseEndpoint: optional(cfg.Endpoint),
		Retryer:      retryer(cfg),
		// Stores that imitate S3 know neither the newer checksums nor trailers.
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
	})
	return s, nil
}

func retryer(cfg Config) aws.Retryer {
	standard := func(o *retry.StandardOptions) { o.MaxAttempts = cfg.MaxRetries + 1 }
	if cfg.RetryMode == "adaptive" {
		return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
			o.StandardOptions = append(o.StandardOptions, standard)
		})
	}
	return retry.NewStandard(standard)
}

func credentialsOf(ctx context.Context, cfg Config) (aws.CredentialsProvider, error) {
	if cfg.AccessKey != "" {
		return aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, "")), nil
	}
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(cfg.Region))
	return c.Credentials, err
}

// complete fills in defaults and refuses what can't work.
func (c *Config) complete() error {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 3 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case len(c.Bucket) < 3 || len(c.Bucket) > 63 || strings.ContainsAny(c.Bucket, "/\\ ?#%"):
		return errors.New("the bucket's name is not valid")
	case c.RetryMode != "" && c.RetryMode != "standard" && c.RetryMode != "adaptive":
		return fmt.Errorf("retry_mode %q is neither standard nor adaptive", c.RetryMode)
	case c.MaxRetries < 0 || c.ConnectTimeout < 0 || c.ReadTimeout < 0:
		return errors.New("retries and time-outs can't be negative")
	case (c.AccessKey == "") != (c.SecretKey == ""):
		return errors.New("an access key and a secret key go together")
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("the endpoint is not an http or https URL")
		}
		c.Endpoint = strings.TrimRight(c.Endpoint, "/")
	}
	return c.completePrefix()
}

func (c *Config) completePrefix() error {
	c.Prefix = strings.Trim(c.Prefix, "/")
	if c.Prefix == "" {
		return nil
	}
	for part := range strings.SplitSeq(c.Prefix, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			return fmt.Errorf("prefix %q is not valid", c.Prefix)
		}
	}
	if len(c.Prefix) > 512 {
		return errors.New("the prefix exceeds 512 bytes")
	}
	c.Prefix += "/"
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Close drops idle connections.
func (s *Store) Close() error {
	if c, ok := s.client.Options().HTTPClient.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	return nil
}

func (s *Store) key(id blob.ID) string { return s.cfg.Prefix + id.Path() }

// idOf returns the id behind a key, false for an object that is not ours.
func (s *Store) idOf(key string) (blob.ID, bool) {
	path, ok := strings.CutPrefix(key, s.cfg.Prefix)
	if !ok {
		return "", false
	}
	id, err := blob.ParseID(path[strings.LastIndexByte(path, '/')+1:])
	return id, err == nil && id.Path() == path
}

// valid returns the context's error, or that of the id.
func valid(ctx context.Context, id blob.ID) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := blob.ParseID(string(id))
	return err
}

// detach returns a context for cleaning up after a request that may be over.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
}
