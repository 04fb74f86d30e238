package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/blake3"
)

// ErrDamaged is returned when what was received is not what the server names.
var ErrDamaged = errors.New("the content does not have the digest that the server names")

// Put uploads a file. A transfer that broke off is begun again; the server
// keeps nothing of a part. Where there is no server at all it fails at once.
func (c *Client) Put(ctx context.Context, file string, a Artifact) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if st.IsDir() {
		return fmt.Errorf("%s is a directory; put its files one by one", file)
	}
	p := c.progress(filepath.Base(file), st.Size())
	defer p.End()
	for try := 0; ; try++ {
		err := c.putOnce(ctx, f, st.Size(), a, p)
		if err == nil || try == c.retries() || !temporary(err) || ctx.Err() != nil {
			return err
		}
		if try == 0 && unreachable(err) {
			return err // a wrong address, rather than a server that is away for a moment
		}
		if err := c.pause(ctx, try); err != nil {
			return err
		}
	}
}

func (c *Client) putOnce(ctx context.Context, f *os.File, size int64, a Artifact, p Progress) error {
	body := &counted{r: io.NewSectionReader(f, 0, size), p: p}
	req, err := c.request(ctx, http.MethodPut, a.URL(), io.NopCloser(body))
	if err != nil {
		return err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Expect", "100-continue")
	resp, err := c.send(req)
	if err != nil {
		p.Done(-body.n)
		return err
	}
	return resp.Body.Close()
}

type counted struct {
	r io.Reader
	n int64
	p Progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.p.Done(int64(n))
	return n, err
}

// Get downloads an artifact to a file, which appears when it is whole. What was
// received before a transfer broke off, in this process or an earlier one, is
// kept beside it and not fetched again while the server has the same content.
func (c *Client) Get(ctx context.Context, a Artifact, file string) error {
	head, err := c.head(ctx, a)
	if err != nil {
		return err
	}
	part, err := openPart(file, head.etag)
	if err != nil {
		return err
	}
	defer part.close()
	p := c.progress(filepath.Base(file), head.size)
	defer p.End()
	p.Done(part.size)
	for try := 0; head.size < 0 || part.size < head.size || try == 0 && head.size == 0; try++ {
		err := c.getOnce(ctx, a, head, part, p)
		if err == nil {
			break
		}
		if try == c.retries() || !temporary(err) || ctx.Err() != nil {
			return err
		}
		if err := c.pause(ctx, try); err != nil {
			return err
		}
	}
	return part.finish(file, head.digest())
}

// head is what is known of an artifact before it is fetched.
type head struct {
	size int64 // -1: unknown
	etag string
}

// digest is the BLAKE3 that a strong entity tag of the server is, "" if it is
// something else.
func (h head) digest() string {
	s := strings.Trim(h.etag, `"`)
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		return ""
	}
	return s
}

func (c *Client) head(ctx context.Context, a Artifact) (head, error) {
	req, err := c.request(ctx, http.MethodHead, a.URL(), nil)
	if err != nil {
		return head{}, err
	}
	resp, err := c.send(req)
	if err != nil {
		return head{}, err
	}
	return head{resp.ContentLength, resp.Header.Get("ETag")}, resp.Body.Close()
}

// getOnce fetches what is missing, from the beginning if the content is another
// by now or the server does not do ranges.
func (c *Client) getOnce(ctx context.Context, a Artifact, h head, part *part, p Progress) error {
	req, err := c.request(ctx, http.MethodGet, a.URL(), nil)
	if err != nil {
		return err
	}
	if part.size > 0 && h.etag != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", part.size))
		req.Header.Set("If-Range", h.etag)
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or broken
	if resp.StatusCode != http.StatusPartialContent && part.size > 0 {
		p.Done(-part.size)
		if err := part.reset(); err != nil {
			return err
		}
	}
	n, err := io.Copy(part, &counted{r: resp.Body, p: p})
	if err != nil {
		return fmt.Errorf("receive %s after %d bytes: %w", a.URL(), n, err)
	}
	return nil
}

func (c *Client) progress(name string, size int64) Progress {
	if c.Progress == nil {
		return silent{}
	}
	return c.Progress(name, size)
}

type silent struct{}

func (silent) Done(int64) {}
func (silent) End()       {}

// part is what was received of a file so far.
type part struct {
	f    *os.File
	path string
	size int64
}

// openPart finds what an earlier transfer of the same content left.
func openPart(file, etag string) (*part, error) {
	path := file + ".part"
	if h := (head{etag: etag}).digest(); h != "" {
		path = file + "." + h[:16] + ".part"
	} else if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // of what content it is a part can't be told
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close() //nolint:errcheck // the seek's error says it
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &part{f, path, size}, nil
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	p.size += int64(n)
	return n, err
}

func (p *part) reset() error {
	p.size = 0
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// finish checks the content and puts it into its place.
func (p *part) finish(file, digest string) error {
	if digest != "" {
		if _, err := p.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		h := blake3.New()
		if _, err := io.Copy(h, p.f); err != nil {
			return fmt.Errorf("check %s: %w", p.path, err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != digest {
			return errors.Join(fmt.Errorf("%s: %w", file, ErrDamaged), os.Remove(p.path))
		}
	}
	if err := p.f.Sync(); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return os.Rename(p.path, file)
}

func (p *part) close() { p.f.Close() } //nolint:errcheck // synced before it was renamed
