package config

import (
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Validate returns a [FieldError] for the first rule that s breaks. Fields of
// the other type are emptied.
func (s *Store) Validate(k Known) error {
	switch {
	case s.Name == "":
		return invalid("name", "must not be empty")
	case !storeName.MatchString(s.Name):
		return invalid("name", "must be 1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit")
	case s.Type == "":
		return misshapen("store_type", "is missing")
	}
	var err error
	switch s.Type {
	case File:
		s.Bucket, s.Endpoint, s.Region, s.Prefix, s.AccessKey, s.SecretKey = "", "", "", "", "", Secret{}
		s.MaxRetries, s.ConnectTimeout, s.ReadTimeout, s.RetryMode = 0, 0, 0, ""
		err = s.validateFile()
	case S3:
		s.Root, s.Sync, s.IOSize, s.DirectIO = "", false, 0, false
		err = s.validateS3()
	default:
		err = oneOf("store_type", s.Type, File, S3)
	}
	if err != nil {
		return err
	}
	return s.validateApart(k)
}

func (s *Store) validateFile() error {
	if s.Root == "" {
		return invalid("root", "is required")
	}
	return first(text("root", s.Root, maxText), between("io_size", s.IOSize, 4, 65536))
}

func (s *Store) validateS3() error {
	if s.Endpoint != "" {
		if err := httpURL("endpoint", s.Endpoint); err != nil {
			return err
		}
		if strings.Contains(s.Endpoint, "?") {
			return invalid("endpoint", "must not have a query")
		}
	}
	switch {
	case s.Bucket == "":
		return invalid("bucket", "is required")
	case !bucketName.MatchString(s.Bucket) || strings.Contains(s.Bucket, ".."):
		return invalid("bucket", "is no name of a bucket")
	case s.Region == "":
		return invalid("region", "must not be empty")
	case slices.Contains(strings.Split(s.Prefix, "/"), "..") || strings.HasPrefix(s.Prefix, "/"):
		return invalid("prefix", "must not begin with a slash or have .. in it")
	case (s.AccessKey == "") != s.SecretKey.IsZero():
		return invalid("secret_key", "access_key and secret_key are given together or not at all")
	case s.RetryMode == "":
		s.RetryMode = Standard
	}
	return first(
		text("region", s.Region, 64),
		text("prefix", s.Prefix, 256),
		text("access_key", s.AccessKey, maxText),
		secret("secret_key", s.SecretKey),
		between("max_retries", s.MaxRetries, 0, 20),
		between("connect_timeout_secs", s.ConnectTimeout, 1, 7200),
		between("read_timeout_secs", s.ReadTimeout, 0, 7200),
		oneOf("retry_mode", s.RetryMode, Standard, Adaptive),
	)
}

// validateApart refuses stores that share their place: each would take the
// other's blobs for ones that nothing refers to.
func (s *Store) validateApart(k Known) error {
	for _, o := range k.Stores {
		if o.ID == s.ID || o.Type != s.Type {
			continue
		}
		switch {
		case s.Type == File && nested(filepath.ToSlash(filepath.Clean(s.Root)), filepath.ToSlash(filepath.Clean(o.Root))):
			return invalid("root", "lies within that of store %s, or the other way round", o.Name)
		case s.Type == S3 && s.Bucket == o.Bucket && origin(s.Endpoint) == origin(o.Endpoint) &&
			nested(path.Clean("/"+s.Prefix), path.Clean("/"+o.Prefix)):
			return invalid("prefix", "lies within that of store %s in the same bucket, or the other way round", o.Name)
		}
	}
	return nil
}

func nested(a, b string) bool {
	a, b = strings.TrimSuffix(a, "/")+"/", strings.TrimSuffix(b, "/")+"/"
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

func origin(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}
