package yum

import (
	"context"
	"errors"
	"net/http"
	"path"
	"regexp"
	"strings"

	"granary/formats"
)

// repoName is what a section of a .repo file can be called.
var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`)

// routeRepoFile reads "[<root>/]<name>.repo": what configures a client for the
// root.
func routeRepoFile(p string) (formats.Op, bool) {
	name, ok := strings.CutSuffix(path.Base(p), ".repo")
	if !ok || !repoName.MatchString(name) {
		return formats.Op{}, false
	}
	return formats.Op{Kind: formats.Call, Label: labelRepoFile, Scope: dirOf(p), Name: name, Verb: formats.VerbRead}, true
}

// Call answers with a .repo file, or with a list of mirrors for one.
func (*Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, _ formats.View) error {
	answer := repoFile
	if op.Label == labelMirrors {
		answer = mirrorsOf
	}
	text, err := answer(r.Context(), op)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// An error here is the client's going away.
	w.Write([]byte(text)) //nolint:errcheck // see above
	return nil
}

// repoFile configures dnf, which takes the mirrorlist where there is one, and
// others, which may know baseurl only.
func repoFile(ctx context.Context, op formats.Op) (string, error) {
	signed, err := signedRoot(ctx, scopeOf(op.Scope))
	if err != nil {
		return "", err
	}
	base := rootURL(ctx, op.Scope)
	var b strings.Builder
	b.WriteString("[" + op.Name + "]\nname=" + op.Name + "\nbaseurl=" + base + "\nmirrorlist=" + base + repodata + "/" + mirrorList + "\nenabled=1\n")
	if signed {
		// The metadata has the digests of the packages.
		b.WriteString("repo_gpgcheck=1\ngpgkey=" + base + repodata + "/" + repomdKey + "\n")
	} else {
		b.WriteString("repo_gpgcheck=0\n")
	}
	b.WriteString("gpgcheck=0\n")
	return b.String(), nil
}

// rootURL is the URL of a root, or of what is read like one.
func rootURL(ctx context.Context, root string) string {
	base := formats.SiteOf(ctx).URL + "/"
	if root != "" {
		base += root + "/"
	}
	return base
}

// signedRoot tells whether clients can verify the metadata of a root: that of a
// cache is signed if the upstream's is and it offers the key. What has no
// metadata yet will be signed.
func signedRoot(ctx context.Context, scope string) (bool, error) {
	for i, name := range []string{repomd, repomdSig, repomdKey} {
		op, _ := document(scope, name)
		_, err := formats.DocumentOf(ctx, op)
		switch {
		case errors.Is(err, formats.ErrNotFound):
			return i == 0, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}
