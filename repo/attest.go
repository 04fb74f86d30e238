package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"granary/blob"
	"granary/formats"
	"granary/repo/config"
	"granary/repo/signing"
	"granary/repo/upstream"
)

// Limits of what is verified, in bytes.
const (
	maxSigned    = 64 << 20
	maxSignature = 256 << 10
)

// upstreamSkew is how far ahead of ours the clock of an upstream may be.
const upstreamSkew = 10 * time.Minute

// attest verifies the signature of a document of an upstream whose keys are
// known, before anything of it is kept. Where the repository says so, one that
// is not good is only told of. req is what the document was asked for with.
func (c *cache) attest(ctx context.Context, scope, path string, req upstream.Request, rc *blob.Received) error {
	f, ok := c.repo.format.(formats.Attested)
	if !ok || c.repo.UpstreamKeys == "" {
		return nil
	}
	signature, ok := f.Attestation(scope, path)
	if !ok {
		return nil
	}
	err := c.verify(ctx, f, beside(req, path, signature), rc)
	if err == nil {
		return nil
	}
	if c.repo.UpstreamUnsigned {
		c.service.Log.WarnContext(ctx, "a document of an upstream is passed on although it can't be trusted", "repository", c.repo.Name, "path", path, "error", err)
		return nil
	}
	return fmt.Errorf("%w: document %s of the upstream of %s: %w", formats.ErrUpstream, path, c.repo.Name, err)
}

func (c *cache) verify(ctx context.Context, f formats.Attested, signature upstream.Request, rc *blob.Received) error {
	keys, err := config.ReadPublicKeys(c.repo.UpstreamKeys)
	if err != nil {
		return err
	}
	if rc.Size() > maxSigned {
		return fmt.Errorf("%w: it has more than %d bytes", signing.ErrSignature, maxSigned)
	}
	text, err := io.ReadAll(io.NewSectionReader(rc, 0, rc.Size()))
	if err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	now := c.service.Now()
	check := func(at time.Time) ([]byte, error) { return signing.VerifyClear(keys, text, at) }
	if signature.Ref != "" {
		sig, err := c.signature(ctx, signature)
		if err != nil {
			return err
		}
		check = func(at time.Time) ([]byte, error) { return text, signing.VerifyDetached(keys, text, sig, at) }
	}
	signed, err := check(now)
	if err != nil {
		// It may have been signed just now, by a clock ahead of ours.
		if signed, err = check(now.Add(upstreamSkew)); err != nil {
			return err
		}
	}
	made, until := f.Valid(signed)
	switch {
	case !until.IsZero() && now.After(until):
		return fmt.Errorf("it has expired at %s", until.Format(time.RFC3339))
	case made.After(now.Add(upstreamSkew)):
		return fmt.Errorf("it is of %s, which is to come", made.Format(time.RFC3339))
	}
	return nil
}

// beside is the request for the signature of the document at path that req has
// asked for, where that came from: another mirror may have the signature of
// another state. Its Ref is "" for a document that is signed within.
func beside(req upstream.Request, path, signature string) upstream.Request {
	mirror, _ := strings.CutSuffix(req.Ref, escaped(path))
	if mirror != "" && mirror != req.Ref && signature != "" {
		signature = mirror + escaped(signature)
	}
	req.Ref, req.ETag, req.LastModified = signature, "", ""
	return req
}

// signature fetches one, as the upstream has it now: that of an earlier document
// is no use.
func (c *cache) signature(ctx context.Context, req upstream.Request) ([]byte, error) {
	path := req.Ref
	resp, err := c.service.Upstream.Get(ctx, req)
	if errors.Is(err, formats.ErrNotFound) {
		return nil, fmt.Errorf("%w: there is no %s", signing.ErrSignature, path)
	}
	if err != nil {
		return nil, fmt.Errorf("signature %s: %w", path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxSignature+1))
	if err != nil {
		return nil, fmt.Errorf("signature %s: %w", path, err)
	}
	if len(b) > maxSignature {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", signing.ErrSignature, path, maxSignature)
	}
	return b, nil
}
