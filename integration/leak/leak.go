// Package leak fails the tests of a binary that leave goroutines behind.
package leak

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines have to end when the tests are over. goleak
// itself waits for half a second, in which those of a closed connection may not
// have had a turn on a machine that is busy with other tests.
const patience = time.Minute

// Verify is for TestMain: it runs the tests and fails if goroutines are left that
// the options don't except.
func Verify(m goleak.TestingM, options ...goleak.Option) {
	goleak.VerifyTestMain(settled{m, options}, options...)
}

// settled runs tests and waits for their goroutines.
type settled struct {
	goleak.TestingM
	options []goleak.Option
}

func (s settled) Run() int {
	code := s.TestingM.Run()
	for end := time.Now().Add(patience); code == 0 && goleak.Find(s.options...) != nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return code
}
