package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"granary/blob"
)

const (
	// writerKey is the metadata by which a writer knows its own object again
	// when a reply was lost and the repeated request finds the key taken.
	writerKey = "granary-writer"
	// conflictTries is how often a create is repeated that met another one of
	// the same key on its way.
	conflictTries = 5
	// partGrace is how long an abort lets the parts that are on their way arrive
	// before it cuts them off.
	partGrace = 10 * time.Second
)

// writer collects parts. What is not longer than one becomes a PUT.
type writer struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // of Create: Write has none of its own
	id    blob.ID
	size  int64 // announced, or -1
	nonce string
	// length, if set, says how long the part is that comes next.
	length func() int64

	n       int64 // bytes taken
	patient bool  // waits for memory
	cur     *part
	number  int    // of cur, from 1 on
	upload  string // id of the multipart upload, "" while there is none
	ended   bool   // no more writes
	done    bool   // committed or aborted

	// Parts are sent with a context of their own: a part that is cut off may
	// reach the store after the abort, and be left.
	partCtx context.Context //nolint:containedctx // as said
	stop    context.CancelFunc
	sending sync.WaitGroup

	mu     sync.Mutex // guards what follows
	parts  []types.CompletedPart
	sizes  []int64 // of parts
	flying int64   // bytes of parts that are being sent
	landed *sync.Cond
	err    error // the first of a part
}

// Create implements [blob.Store]. That the id is in use is seen at Commit.
func (s *Store) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	err := valid(ctx, id)
	if err == nil && size > maxSize {
		err = fmt.Errorf("%w: %d bytes", blob.ErrTooLarge, size)
	}
	if err != nil {
		return nil, fmt.Errorf("create blob %s: %w", id, err)
	}
	w := &writer{s: s, ctx: ctx, id: id, size: size, nonce: rand.Text()}
	w.start()
	return w, nil
}

// start makes a writer ready for its first byte.
func (w *writer) start() {
	w.patient = blob.IsPatient(w.ctx)
	w.partCtx, w.stop = context.WithCancel(context.WithoutCancel(w.ctx))
	w.landed = sync.NewCond(&w.mu)
	w.s.memory.begin()
	w.next()
}

// next begins another part.
func (w *writer) next() {
	w.number++
	limit := partLength(w.s.part, w.size, w.number)
	if w.length != nil {
		limit = w.length()
	}
	need := limit
	if w.size >= 0 {
		need = min(limit, w.size-w.n)
	}
	w.cur = &part{mem: w.s.memory, limit: limit, need: need}
}

// Write implements [blob.Writer].
func (w *writer) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		return 0, fmt.Errorf("write blob %s at %d: %w", w.id, w.n, mapped(w.ctx, err))
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	switch {
	case w.ended:
		return os.ErrClosed
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case w.size >= 0 && w.n+int64(len(p)) > w.size:
		return fmt.Errorf("%w: more than %d bytes", blob.ErrLength, w.size)
	case w.n+int64(len(p)) > maxSize:
		return fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, int64(maxSize))
	}
	for len(p) > 0 {
		if w.cur.n == w.cur.limit {
			if err := w.send(); err != nil {
				return err
			}
			w.next()
		}
		m, err := w.cur.fill(w.ctx, p, w.patient)
		p = p[m:]
		w.n += int64(m)
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends the current part in the background, as soon as those on their way
// leave room for it in memory.
func (w *writer) send() error {
	if w.upload == "" {
		var err error
		if w.upload, err = w.s.begin(w.ctx, w.id, w.nonce); err != nil {
			return err
		}
	}
	p, number := w.cur, w.number
	if err := w.reserve(p.n); err != nil {
		return err
	}
	w.sending.Go(func() { w.sendPart(p, number) })
	return nil
}

// reserve waits until parts of n bytes more may be on their way.
func (w *writer) reserve(n int64) error {
	wake := context.AfterFunc(w.ctx, func() {
		w.mu.Lock() // or it could come between the look at ctx and the wait
		defer w.mu.Unlock()
		w.landed.Broadcast()
	})
	defer wake()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && w.ctx.Err() == nil && w.flying > 0 && w.flying+n > inFlight {
		w.landed.Wait()
	}
	if w.err == nil && w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	w.flying += n
	return w.err
}

func (w *writer) sendPart(p *part, number int) {
	n := p.n
	landed := w.s.memory.sending()
	out, err := w.s.client.UploadPart(w.partCtx, &s3.UploadPartInput{
		Bucket: &w.s.cfg.Bucket, Key: aws.String(w.s.key(w.id)), UploadId: &w.upload,
		PartNumber: aws.Int32(int32(number)), ContentLength: &n, Body: p, //nolint:gosec // at most 10,000
	})
	landed()
	p.release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying -= n
	w.landed.Broadcast()
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("send part %d: %w", number, err))
		return
	}
	for len(w.parts) < number {
		w.parts, w.sizes = append(w.parts, types.CompletedPart{}), append(w.sizes, 0)
	}
	w.sizes[number-1] = n
	w.parts[number-1] = types.CompletedPart{PartNumber: aws.Int32(int32(number)), ETag: out.ETag} //nolint:gosec // as above
}

// Commit implements [blob.Writer].
func (w *writer) Commit(ctx context.Context) error {
	if err := w.commit(ctx); err != nil {
		return fmt.Errorf("commit blob %s: %w", w.id, mapped(ctx, err))
	}
	w.done = true
	w.end()
	return nil
}

// end frees what the writer has when nothing is on its way any more.
func (w *writer) end() {
	w.stop()
	w.cur.release()
	w.s.memory.end()
}

func (w *writer) commit(ctx context.Context) error {
	if err := w.whole(ctx); err != nil {
		return err
	}
	if w.upload == "" {
		defer w.s.memory.sending()()
		return w.s.settle(ctx, w.id, w.nonce, w.s.put(ctx, w.id, w.nonce, w.cur, w.cur.n))
	}
	if err := w.sendLast(ctx); err != nil {
		return err
	}
	return w.s.settle(ctx, w.id, w.nonce, w.s.complete(ctx, w.id, w.upload, w.parts))
}

// whole ends the writing, and refuses what is not as long as was announced.
func (w *writer) whole(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case w.ended:
		return os.ErrClosed
	}
	w.ended = true
	if w.size >= 0 && w.n != w.size {
		return fmt.Errorf("%w: %d of %d bytes written", blob.ErrLength, w.n, w.size)
	}
	return nil
}

// sendLast sends the last part, and waits until all have arrived.
func (w *writer) sendLast(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.stop)()
	if err := w.send(); err != nil {
		return err
	}
	w.sending.Wait()
	return w.err
}

// Put implements [blob.Putter].
func (s *Store) Put(ctx context.Context, id blob.ID, content []byte) error {
	err := valid(ctx, id)
	if err == nil {
		nonce := rand.Text()
		err = s.settle(ctx, id, nonce, s.put(ctx, id, nonce, bytes.NewReader(content), int64(len(content))))
	}
	if err != nil {
		return fmt.Errorf("put blob %s: %w", id, mapped(ctx, err))
	}
	return nil
}

// put stores a blob by one request.
func (s *Store) put(ctx context.Context, id blob.ID, nonce string, content io.ReadSeeker, size int64) error {
	return retryConflict(ctx, func(condition *string) error {
		if _, err := content.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id)), ContentLength: &size, Body: content,
			IfNoneMatch: condition, Metadata: map[string]string{writerKey: nonce},
			ContentType: aws.String("application/octet-stream"),
		})
		return err
	})
}

// complete makes an object of parts.
func (s *Store) complete(ctx context.Context, id blob.ID, upload string, parts []types.CompletedPart) error {
	return retryConflict(ctx, func(condition *string) error {
		_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id)), UploadId: &upload, IfNoneMatch: condition,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		return err
	})
}

// retryConflict creates something on the condition that it is not there yet;
// without a condition where the store knows none.
func retryConflict(ctx context.Context, create func(condition *string) error) error {
	condition := aws.String("*")
	var err error
	for range conflictTries {
		err = create(condition)
		switch {
		case condition != nil && unsupported(err):
			condition = nil
		case status(err) != http.StatusConflict || ctx.Err() != nil:
			return err
		}
	}
	if status(err) == http.StatusConflict {
		return fmt.Errorf("%w: %w", blob.ErrExists, err)
	}
	return err
}

// settle looks whether what failed has happened all the same: a reply that was
// lost makes the repeated request find the key taken or the upload gone.
func (s *Store) settle(ctx context.Context, id blob.ID, nonce string, err error) error {
	if err == nil || status(err) != http.StatusPreconditionFailed && code(err) != "NoSuchUpload" {
		return err
	}
	out, herr := s.head(ctx, id)
	if herr == nil && out.Metadata[writerKey] == nonce {
		return nil
	}
	return err
}

// quit ends the writer when what is on its way has arrived, or takes too long.
func (w *writer) quit() {
	w.ended, w.done = true, true
	late := time.AfterFunc(partGrace, w.stop)
	w.sending.Wait()
	late.Stop()
	w.end()
}

// Abort implements [blob.Writer].
func (w *writer) Abort(ctx context.Context) error {
	if w.done {
		return nil
	}
	w.quit()
	if w.upload == "" {
		return nil
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	_, err := w.s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &w.s.cfg.Bucket, Key: aws.String(w.s.key(w.id)), UploadId: &w.upload,
	})
	if err != nil && code(err) != "NoSuchUpload" {
		return fmt.Errorf("abort blob %s: %w", w.id, mapped(ctx, err))
	}
	return nil
}
