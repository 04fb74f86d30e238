package repo

import (
	"context"
	"errors"
	"fmt"

	"granary/formats"
	"granary/repo/record"
)

// ErrQuota is returned for an upload that the repository's quota has no room
// for; nothing was stored. It is a formats.ErrNoSpace.
var ErrQuota = fmt.Errorf("%w: quota", formats.ErrNoSpace)

// quotaError says how much there is and how much would be.
func quotaError(repository, what string, quota, would int64) error {
	return fmt.Errorf("%w of repository %s: at most %d %s are allowed, with this upload there would be %d; nothing was stored",
		ErrQuota, repository, quota, what, would)
}

// announced refuses a body that is longer than the quota before it is read.
func (t *tx) announced() error {
	if q := t.repo.QuotaBytes; q != nil && t.up != nil && t.up.Size > *q {
		return quotaError(t.repo.Name, "bytes", *q, t.up.Size)
	}
	return nil
}

// withinQuota is asked when everything has arrived and before anything is
// published. Counts are estimates that follow writes within about a second, so
// uploads at the same time may go beyond the quota together; the next one is
// refused.
func (t *tx) withinQuota(ctx context.Context) error {
	bytes, artifacts := t.repo.QuotaBytes, t.repo.QuotaArtifacts
	if bytes == nil && artifacts == nil || len(t.puts) == 0 {
		return nil
	}
	count, size, err := t.service.Records.Usage(ctx, t.repo.ID)
	if err != nil {
		return fmt.Errorf("ask for the quota of %s: %w", t.repo.Name, err)
	}
	more, longer, err := t.growth(ctx)
	if err != nil {
		return err
	}
	if artifacts != nil && more > 0 && count+more > *artifacts {
		return quotaError(t.repo.Name, "artifacts", *artifacts, count+more)
	}
	if bytes != nil && longer > 0 && size+longer > *bytes {
		return quotaError(t.repo.Name, "bytes", *bytes, size+longer)
	}
	return nil
}

// growth is how many records and bytes the upload adds to what is there.
func (t *tx) growth(ctx context.Context) (count, size int64, err error) {
	for _, p := range t.puts {
		if p.blob != nil {
			size += p.blob.Size()
		}
		old, _, err := t.service.Records.Get(ctx, t.repo.space, p.rec.Scope, p.rec.Name, record.Hit)
		switch {
		case err == nil:
			size -= old.Size
		case !errors.Is(err, formats.ErrNotFound):
			return 0, 0, fmt.Errorf("look for %s in %s: %w", p.rec.Key(), t.repo.Name, err)
		case p.blob != nil: // others are not counted as artifacts
			count++
		}
	}
	return count, size, nil
}
