package otlp_test

import (
	"testing"

	"granary/integration/leak"
)

func TestMain(m *testing.M) { leak.Verify(m) }
