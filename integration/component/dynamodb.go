package component

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// DynamoDBLocal returns the endpoint of Amazon's own local DynamoDB, in memory
// and empty but for what other tests of the binary left: take a table name of
// your own. Any credentials of letters and digits will do, and any region.
func DynamoDBLocal(t testing.TB) string {
	t.Helper()
	dir := installed(t, "dynamodb-local", "classes/LoopbackServer.class")
	java := lookup(t, "java", "a Java runtime of version 17 or later")
	lib := filepath.Join(dir, "lib")
	return serve(t, command{
		name: "DynamoDB Local",
		path: "/",
		args: func(port int, _ string) []string {
			return []string{
				java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.library.path=" + lib,
				"-cp", filepath.Join(dir, "classes") + string(filepath.ListSeparator) + filepath.Join(lib, "*"),
				"LoopbackServer", "-inMemory", "-sharedDb", "-port", strconv.Itoa(port), "-disableTelemetry",
			}
		},
	}).endpoint
}

// Dynalite returns the endpoint of dynalite, which like ScyllaDB Alternator
// lacks transactions and, unlike it, TTL and the old item of a failed
// condition. For the rest see [DynamoDBLocal].
func Dynalite(t testing.TB) string {
	t.Helper()
	const cli = "node_modules/dynalite/cli.js"
	dir := installed(t, "dynalite", cli)
	node := lookup(t, "node", "Node.js 20 or later")
	return serve(t, command{
		name: "dynalite",
		path: "/",
		args: func(port int, _ string) []string {
			return []string{
				node, filepath.Join(dir, filepath.FromSlash(cli)), "--host", "127.0.0.1", "--port", strconv.Itoa(port),
				"--createTableMs", "0", "--deleteTableMs", "0",
			}
		},
	}).endpoint
}

// lookup returns the path of a program that is not ours to install.
func lookup(t testing.TB, program, what string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, "%s is not on the PATH: install %s (%v)", program, what, err)
	}
	return path
}
