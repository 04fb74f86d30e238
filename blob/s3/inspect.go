package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"granary/blob/check"
)

var _ check.Inspector = (*Store)(nil)

// Inspect implements [check.Inspector]: it looks for bucket rules that would
// take blobs away, and for those whose absence keeps what nobody needs. A store
// that has no such rules is fine.
func (s *Store) Inspect(ctx context.Context) (warnings []string, err error) {
	rules, warn, err := s.rules(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the lifecycle rules of bucket %s: %w", s.cfg.Bucket, mapped(ctx, err))
	}
	if warn != "" {
		warnings = append(warnings, warn)
	}
	found := review(rules, s.cfg.Prefix)
	if rules != nil && !found.aborts {
		warnings = append(warnings, "no lifecycle rule aborts incomplete multipart uploads: what a crash leaves costs until granary's own clean-up, a week later")
	}
	versioned, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.cfg.Bucket})
	switch {
	case err == nil && versioned.Status != "" && !found.expiresNoncurrent:
		warnings = append(warnings, "the bucket keeps versions and no lifecycle rule expires noncurrent ones: deleted blobs cost for ever")
	case err != nil && !unsupported(err) && status(err) != http.StatusForbidden:
		return warnings, fmt.Errorf("read the versioning of bucket %s: %w", s.cfg.Bucket, mapped(ctx, err))
	}
	return warnings, errors.Join(found.harmful...)
}

// rules returns the bucket's lifecycle rules: nil where the store has none to
// ask for, empty where it has but none is set.
func (s *Store) rules(ctx context.Context) (rules []types.LifecycleRule, warning string, err error) {
	out, err := s.client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &s.cfg.Bucket})
	switch {
	case err == nil && out.Rules != nil:
		return out.Rules, "", nil
	case err == nil, code(err) == "NoSuchLifecycleConfiguration":
		return []types.LifecycleRule{}, "", nil
	case unsupported(err):
		return nil, "", nil
	case status(err) == http.StatusForbidden:
		return nil, "the credentials may not read the bucket's lifecycle rules: see to it that none expires objects", nil
	}
	return nil, "", err
}

// findings are what rules do to the objects under a prefix.
type findings struct {
	harmful           []error
	aborts            bool // incomplete uploads under all of the prefix
	expiresNoncurrent bool // versions under all of the prefix
}

func review(rules []types.LifecycleRule, prefix string) findings {
	var f findings
	for _, r := range rules {
		scope, tagged := scopeOf(r)
		overlaps := strings.HasPrefix(scope, prefix) || strings.HasPrefix(prefix, scope)
		if r.Status != types.ExpirationStatusEnabled || tagged || !overlaps {
			continue // our objects have no tags
		}
		if e := r.Expiration; e != nil && (aws.ToInt32(e.Days) > 0 || e.Date != nil) {
			f.harmful = append(f.harmful, fmt.Errorf("lifecycle rule %q expires objects under %q", aws.ToString(r.ID), scope))
		}
		for _, t := range r.Transitions {
			if t.StorageClass == types.TransitionStorageClassGlacier || t.StorageClass == types.TransitionStorageClassDeepArchive {
				f.harmful = append(f.harmful, fmt.Errorf("lifecycle rule %q moves objects under %q to %s, where they can't be read", aws.ToString(r.ID), scope, t.StorageClass))
			}
		}
		whole := strings.HasPrefix(prefix, scope)
		f.aborts = f.aborts || whole && r.AbortIncompleteMultipartUpload != nil
		f.expiresNoncurrent = f.expiresNoncurrent || whole && r.NoncurrentVersionExpiration != nil
	}
	return f
}

// scopeOf returns the prefix that a rule is for, and whether it is for objects
// with tags only.
func scopeOf(r types.LifecycleRule) (prefix string, tagged bool) {
	prefix = aws.ToString(r.Prefix) //nolint:staticcheck // deprecated, and still in old buckets
	f := r.Filter
	if f == nil {
		return prefix, false
	}
	if f.And != nil {
		return aws.ToString(f.And.Prefix), len(f.And.Tags) > 0
	}
	if f.Prefix != nil {
		prefix = *f.Prefix
	}
	return prefix, f.Tag != nil
}
