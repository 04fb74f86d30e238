package component

import (
	"path/filepath"
	"testing"
)

// Python returns a program of the environment that install.sh makes with the
// clients of the stage: "nexus3-cli" or "schemathesis".
func Python(t testing.TB, stage, program string) string {
	t.Helper()
	return filepath.Join(installed(t, stage, "bin/"+program), "bin", program)
}
