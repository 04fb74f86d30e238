package httpapi

import (
	"testing"

	"go.uber.org/goleak"

	"granary/integration/leak"
)

func TestMain(m *testing.M) {
	// Connections that the default client keeps for another request.
	leak.Verify(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
