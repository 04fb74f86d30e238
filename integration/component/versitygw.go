package component

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// S3 is a bucket on an S3 server.
type S3 struct {
	Endpoint  string // http://127.0.0.1:port; buckets are addressed by path
	Region    string
	AccessKey string
	SecretKey string
	Bucket    string // new and empty
}

const (
	s3AccessKey = "granary"
	s3SecretKey = "granary-secret"
	s3Region    = "us-east-1"
)

// VersityGW returns a new bucket on versitygw, which keeps it on the temporary
// file system until the tests are over.
func VersityGW(t testing.TB) S3 {
	t.Helper()
	binary := filepath.Join(installed(t, "versitygw", "versitygw"), "versitygw")
	p := serve(t, command{
		name: "versitygw",
		path: "/health",
		args: func(port int, dir string) []string {
			return []string{
				binary, "--port", "127.0.0.1:" + strconv.Itoa(port), "--access", s3AccessKey, "--secret", s3SecretKey,
				"--region", s3Region, "--keep-alive", "--quiet", "--health", "/health", "posix",
				// Attributes beside the files: not every file system has extended ones.
				"--sidecar", filepath.Join(dir, "attributes"), filepath.Join(dir, "buckets"),
			}
		},
		dirs: []string{"attributes", "buckets"},
	})
	// A directory is a bucket to the posix backend, also one that it did not make.
	bucket := "b" + strings.ToLower(rand.Text())
	if err := os.Mkdir(filepath.Join(p.dir, "buckets", bucket), 0o755); err != nil {
		t.Fatalf("make a bucket: %v", err)
	}
	return S3{Endpoint: p.endpoint, Region: s3Region, AccessKey: s3AccessKey, SecretKey: s3SecretKey, Bucket: bucket}
}
