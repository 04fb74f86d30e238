package docker

import (
	"fmt"
	"regexp"
	"strings"

	"granary/digest"
	"granary/formats"
)

// The codes of the specification's errors that the format gives.
const (
	codeNameInvalid     = "NAME_INVALID"
	codeNameUnknown     = "NAME_UNKNOWN"
	codeTagInvalid      = "TAG_INVALID"
	codeDigestInvalid   = "DIGEST_INVALID"
	codeSizeInvalid     = "SIZE_INVALID"
	codeManifestInvalid = "MANIFEST_INVALID"
	codeBlobMissing     = "MANIFEST_BLOB_UNKNOWN"
	codeUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	codeUploadInvalid   = "BLOB_UPLOAD_INVALID"
	codePageInvalid     = "PAGINATION_NUMBER_INVALID"
)

// bad is an ErrBadRequest with a code.
func bad(code, format string, args ...any) error {
	return &formats.Coded{Code: code, Err: formats.BadRequest(format, args...)}
}

// Grammar of the specification, §"Pulling manifests".
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

const maxName = 255 // bytes

// checkName takes "" for the image that is called like its repository.
func checkName(name string) error {
	if name != "" && (len(name) > maxName || !nameGrammar.MatchString(name)) {
		return bad(codeNameInvalid, "%.300q is no name of an image", name)
	}
	return nil
}

func checkTag(tag string) error {
	if !tagGrammar.MatchString(tag) {
		return bad(codeTagInvalid, "%.300q is no tag", tag)
	}
	return nil
}

// parseDigest reads "sha256:<hex>" or "sha512:<hex>".
func parseDigest(s string) (digest.Algorithm, digest.Sums, error) {
	var sums digest.Sums
	name, hex, _ := strings.Cut(s, ":")
	a := digest.Algorithm(name)
	if a != digest.SHA256 && a != digest.SHA512 {
		return "", sums, bad(codeDigestInvalid, "%.200q is no digest; sha256 and sha512 are possible", s)
	}
	sum, err := digest.ParseHex(a, hex)
	if err != nil || hex != strings.ToLower(hex) {
		return "", sums, bad(codeDigestInvalid, "%.200q is no digest", s)
	}
	sums.Set(a, sum)
	return a, sums, nil
}

// digestOf returns the digest that content without another is named by.
func digestOf(sums digest.Sums) string {
	if len(sums.SHA256) == 0 && len(sums.SHA512) > 0 {
		return fmt.Sprintf("%s:%s", digest.SHA512, sums.Hex(digest.SHA512))
	}
	return fmt.Sprintf("%s:%s", digest.SHA256, sums.Hex(digest.SHA256))
}
