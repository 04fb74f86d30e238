package leak

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// tests are a binary's, which begin a goroutine and may end it.
type tests struct {
	code int
	end  func()
}

func (s tests) Run() int {
	s.end()
	return s.code
}

// A goroutine that ends too late for goleak is waited for.
func TestSettled(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	go time.Sleep(2 * time.Second)
	if goleak.Find(ignore) == nil {
		t.Skip("the machine is too slow to see the goroutine")
	}
	if code := (settled{tests{end: func() {}}, []goleak.Option{ignore}}).Run(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
}

// Tests that failed are not waited for.
func TestSettledFailed(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	stay := make(chan struct{})
	defer close(stay)
	go func() { <-stay }()
	began := time.Now()
	if code := (settled{tests{code: 1, end: func() {}}, []goleak.Option{ignore}}).Run(); code != 1 || time.Since(began) > patience/2 {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
}
