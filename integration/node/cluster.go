package node

import (
	"fmt"
	"strings"
	"testing"

	"granary/integration/component"
)

// Cluster starts nodes on one DynamoDB table and one bucket. The bucket is the
// store "default". more is added to the environment of each.
func Cluster(t testing.TB, nodes int, more ...string) []*Node {
	t.Helper()
	bucket := component.VersityGW(t)
	env := append(Table(t, "t"+strings.ReplaceAll(strings.ToLower(bucket.Bucket), "-", "")), more...)
	var out []*Node
	for range nodes {
		out = append(out, Start(t, Options{Env: env}))
	}
	out[0].Want(201, "POST", "/api/v1/stores", strings.NewReader(fmt.Sprintf(
		`{"name":"default","store_type":"s3","bucket":%q,"endpoint":%q,"region":%q,"access_key":%q,"secret_key":%q}`,
		bucket.Bucket, bucket.Endpoint, bucket.Region, bucket.AccessKey, bucket.SecretKey)), "Content-Type", "application/json")
	return out
}

// Table is the environment of nodes that share a DynamoDB table, which the first
// of them makes.
func Table(t testing.TB, table string) []string {
	t.Helper()
	dynamo := component.DynamoDBLocal(t)
	return []string{
		"GRANARY_KV_TYPE=dynamodb", "GRANARY_KV_DYNAMODB_ENDPOINT=" + dynamo, "GRANARY_KV_DYNAMODB_TABLE=" + table,
		"GRANARY_KV_DYNAMODB_CREATE_TABLE=true", "GRANARY_KV_DYNAMODB_REGION=us-east-1",
		"GRANARY_SECRET_KEY=a key for tests only, of any length",
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local",
	}
}
