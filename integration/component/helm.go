package component

import "testing"

// Helm returns the directory of the program helm that install.sh has installed.
func Helm(t testing.TB) string {
	t.Helper()
	return installed(t, "helm", "helm")
}
