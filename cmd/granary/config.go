package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"

	"granary/blob/s3"
	"granary/telemetry/otlp"
)

// Config is what a server is started with. Every key is also an environment
// variable: GRANARY_ and the path in capitals, with _ for each dot.
type Config struct {
	// Data is the folder of the embedded store and of the store "default".
	Data string `koanf:"data" json:"data"`
	// AdminPassword is that of the user admin on first start. Optional: one is
	// made up and printed.
	AdminPassword string `koanf:"admin_password" json:"admin_password"`
	// SecretKey encrypts stored secrets, 16 bytes or more. Optional.
	SecretKey string `koanf:"secret_key" json:"secret_key"`
	// PreviousSecretKeys open what was encrypted with them, until it is
	// encrypted with SecretKey. Optional.
	PreviousSecretKeys []string `koanf:"previous_secret_keys" json:"previous_secret_keys"`
	// ExternalURL begins the absolute URLs that are generated. Optional: taken
	// from the request.
	ExternalURL string `koanf:"external_url" json:"external_url"`
	// TrustedProxies are addresses or networks whose forwarding headers are
	// believed. Optional: for URLs loopback and private ones are.
	TrustedProxies []string `koanf:"trusted_proxies" json:"trusted_proxies"`
	// ShutdownTimeout is what running requests get after SIGTERM.
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout" json:"shutdown_timeout"`
	// AuditRate bounds what this node reads for audits, in bytes a second; 0 is
	// no bound.
	AuditRate int64 `koanf:"audit_rate" json:"audit_rate"`
	// PartMemory is what parts of long uploads may take that are on their way to
	// buckets, in bytes, for all of them together; 8 MiB is the least.
	PartMemory int64 `koanf:"part_memory" json:"part_memory"`
	// MetricsListen serves /metrics without a login at an address of its own.
	// Optional: /metrics on the main address needs a login.
	MetricsListen string `koanf:"metrics_listen" json:"metrics_listen"`
	LogLevel      string `koanf:"log_level" json:"log_level"` // debug, info, warn, error

	HTTP     HTTPConfig     `koanf:"http" json:"http"`
	HTTPS    HTTPSConfig    `koanf:"https" json:"https"`
	KV       KVConfig       `koanf:"kv" json:"kv"`
	Cluster  ClusterConfig  `koanf:"cluster" json:"cluster"`
	Upstream UpstreamConfig `koanf:"upstream" json:"upstream"`

	Telemetry TelemetryConfig `koanf:"telemetry" json:"telemetry"`

	// Stores, and what else Initialization has, are created on first start.
	// They have the shapes of the REST bodies.
	Stores         []map[string]any     `koanf:"stores" json:"stores"`
	Initialization InitializationConfig `koanf:"initialization" json:"initialization"`
}

// HTTPConfig is the plain listener.
type HTTPConfig struct {
	Listen string `koanf:"listen" json:"listen"` // "" for none
}

// HTTPSConfig is the TLS listener; the files are read again when they change.
type HTTPSConfig struct {
	Listen string `koanf:"listen" json:"listen"`
	Cert   string `koanf:"cert" json:"cert"`
	Key    string `koanf:"key" json:"key"`
}

// KVConfig chooses the key-value store.
type KVConfig struct {
	Type     string         `koanf:"type" json:"type"` // pebble or dynamodb
	DynamoDB DynamoDBConfig `koanf:"dynamodb" json:"dynamodb"`
}

// ClusterConfig says when a node is taken for dead; it is the same on every node.
type ClusterConfig struct {
	Beat time.Duration `koanf:"beat" json:"beat"` // between signs of life
	Dead time.Duration `koanf:"dead" json:"dead"` // silence that is death, at least twice beat
}

// DynamoDBConfig is a table of DynamoDB or of what speaks its protocol.
// Credentials come by the SDK's default chain.
type DynamoDBConfig struct {
	Table          string        `koanf:"table" json:"table"`
	Region         string        `koanf:"region" json:"region"`
	Endpoint       string        `koanf:"endpoint" json:"endpoint"` // optional
	MaxRetries     int           `koanf:"max_retries" json:"max_retries"`
	ConnectTimeout time.Duration `koanf:"connect_timeout" json:"connect_timeout"`
	ReadTimeout    time.Duration `koanf:"read_timeout" json:"read_timeout"`
	CreateTable    bool          `koanf:"create_table" json:"create_table"`
}

// UpstreamConfig changes which addresses caches may fetch from.
type UpstreamConfig struct {
	Deny  []string `koanf:"deny" json:"deny"`   // networks that are refused too
	Allow []string `koanf:"allow" json:"allow"` // networks that are allowed all the same
}

// TelemetryConfig sends traces and logs to a collector of OpenTelemetry.
type TelemetryConfig struct {
	// OTLPEndpoint is http://host:port (gRPC without TLS), https://host:port or
	// host:port (with TLS). Optional: nothing is sent without it.
	OTLPEndpoint string `koanf:"otlp_endpoint" json:"otlp_endpoint"`
	ServiceName  string `koanf:"service_name" json:"service_name"`
	Environment  string `koanf:"environment" json:"environment"` // optional
	// MaxTracesPerSec bounds the traces of this node; 0 is no bound.
	MaxTracesPerSec float64 `koanf:"max_traces_per_sec" json:"max_traces_per_sec"`
	SamplingRatio   float64 `koanf:"sampling_ratio" json:"sampling_ratio"` // of new traces, 0 to 1
}

// InitializationConfig is created on first start, each in the shape of its
// REST body.
type InitializationConfig struct {
	Stores       []map[string]any `koanf:"stores" json:"stores"`
	Repositories []map[string]any `koanf:"repositories" json:"repositories"`
	Roles        []map[string]any `koanf:"roles" json:"roles"`
	Users        []map[string]any `koanf:"users" json:"users"`
	Settings     map[string]any   `koanf:"settings" json:"settings"`
}

func defaults() Config {
	return Config{
		Data: "./data", ShutdownTimeout: 15 * time.Second, AuditRate: 64 << 20, PartMemory: s3.DefaultMemory, LogLevel: "info",
		HTTP:      HTTPConfig{Listen: ":8080"},
		Cluster:   ClusterConfig{Beat: 30 * time.Second, Dead: 90 * time.Second},
		Telemetry: TelemetryConfig{ServiceName: "granary", MaxTracesPerSec: 100, SamplingRatio: 1},
		// koanf merges what a file has into this map.
		Initialization: InitializationConfig{Settings: map[string]any{}},
		KV: KVConfig{Type: "pebble", DynamoDB: DynamoDBConfig{
			Table: "granary", Region: "us-east-1", MaxRetries: 10, ConnectTimeout: 3 * time.Second, ReadTimeout: 5 * time.Second,
		}},
	}
}

// sources is where configuration comes from, later ones over earlier ones:
// defaults, file, environment, flags.
type sources struct {
	file    string // "" means granary.yaml in the data folder, if there is one
	environ []string
	flags   map[string]any
}

// loadConfig reads all sources and refuses keys that it does not know.
func loadConfig(s sources) (Config, error) {
	k, known, err := defaultKeys()
	if err != nil {
		return Config{}, err
	}
	environ := fromEnvironment(known, s.environ)
	if err := loadFile(k, s, environ); err != nil {
		return Config{}, err
	}
	if err := errors.Join(unflatten(k, known), refuseUnknown(k, known)); err != nil {
		return Config{}, err
	}
	if err := k.Load(environ, nil); err != nil {
		return Config{}, fmt.Errorf("environment: %w", err)
	}
	if err := k.Load(confmap.Provider(s.flags, "."), nil); err != nil {
		return Config{}, fmt.Errorf("flags: %w", err)
	}
	var c Config
	err = k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: &c, TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		return Config{}, undecoded(err)
	}
	return c, c.check()
}

// defaultKeys has every key.
func defaultKeys() (k *koanf.Koanf, known []string, err error) {
	k = koanf.New(".")
	if err := k.Load(structs.Provider(defaults(), "koanf"), nil); err != nil {
		return nil, nil, fmt.Errorf("default configuration: %w", err)
	}
	return k, k.Keys(), nil
}

// loadFile reads the file that was named, else the one beside the data.
func loadFile(k *koanf.Koanf, s sources, environ *env.Env) error {
	path := s.file
	if path == "" {
		// Where the data are may itself come from the environment or a flag.
		probe := k.Copy()
		if err := errors.Join(probe.Load(environ, nil), probe.Load(confmap.Provider(s.flags, "."), nil)); err != nil {
			return fmt.Errorf("environment and flags: %w", err)
		}
		path = filepath.Join(probe.String("data"), "granary.yaml")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	return nil
}

// fromEnvironment maps GRANARY_KV_DYNAMODB_MAX_RETRIES to
// kv.dynamodb.max_retries: a key may have underscores of its own.
func fromEnvironment(known, environ []string) *env.Env {
	byName := map[string]string{}
	for _, key := range known {
		byName["GRANARY_"+strings.ToUpper(flat(key))] = key
	}
	return env.Provider(".", env.Opt{
		Prefix:      "GRANARY_",
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			return byName[name], value // "" is passed over
		},
	})
}

func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains([]string{"pebble", "dynamodb"}, c.KV.Type) {
		bad("kv.type is %q; pebble and dynamodb are possible", c.KV.Type)
	}
	if c.KV.Type == "dynamodb" && c.KV.DynamoDB.Table == "" {
		bad("kv.dynamodb.table is missing")
	}
	if c.HTTP.Listen == "" && c.HTTPS.Listen == "" {
		bad("neither http.listen nor https.listen is set")
	}
	if c.HTTPS.Listen != "" && (c.HTTPS.Cert == "" || c.HTTPS.Key == "") {
		bad("https.listen needs https.cert and https.key")
	}
	if c.Data == "" {
		bad("data is missing")
	}
	if c.SecretKey != "" && len(c.SecretKey) < 16 {
		bad("secret_key has %d bytes; 16 are the least", len(c.SecretKey))
	}
	if c.SecretKey == "" && len(c.PreviousSecretKeys) > 0 {
		bad("previous_secret_keys without secret_key")
	}
	if c.AuditRate < 0 {
		bad("audit_rate is negative")
	}
	if c.PartMemory < s3.LeastMemory {
		bad("part_memory is %d; %d are the least", c.PartMemory, s3.LeastMemory)
	}
	if c.Cluster.Beat <= 0 || c.Cluster.Dead < 2*c.Cluster.Beat {
		bad("cluster.dead is %v; it must be at least twice cluster.beat, which is %v and must be positive", c.Cluster.Dead, c.Cluster.Beat)
	}
	if _, err := logLevel(c.LogLevel); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.Telemetry.check())...)
}

func (c *TelemetryConfig) check() error {
	var errs []error
	if c.OTLPEndpoint != "" {
		if _, err := otlp.ParseEndpoint(c.OTLPEndpoint); err != nil {
			errs = append(errs, fmt.Errorf("telemetry.otlp_endpoint: %w", err))
		}
	}
	if c.ServiceName == "" {
		errs = append(errs, errors.New("telemetry.service_name is empty"))
	}
	if !(c.MaxTracesPerSec >= 0 && c.MaxTracesPerSec <= maxTraces) { // NaN is neither
		errs = append(errs, fmt.Errorf("telemetry.max_traces_per_sec is %v; 0 (no bound) to %d are possible", c.MaxTracesPerSec, maxTraces))
	}
	if !(c.SamplingRatio >= 0 && c.SamplingRatio <= 1) {
		errs = append(errs, fmt.Errorf("telemetry.sampling_ratio is %v; 0 to 1 are possible", c.SamplingRatio))
	}
	return errors.Join(errs...)
}

// maxTraces is more than a node can serve.
const maxTraces = 1_000_000

// masked is the configuration without its secrets, for people to read.
func (c Config) masked() (map[string]any, error) {
	for _, s := range []*string{&c.AdminPassword, &c.SecretKey} {
		if *s != "" {
			*s = mask
		}
	}
	c.PreviousSecretKeys = slices.Repeat([]string{mask}, len(c.PreviousSecretKeys))
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	m["shutdown_timeout"] = c.ShutdownTimeout.String()
	dynamo := m["kv"].(map[string]any)["dynamodb"].(map[string]any)
	dynamo["connect_timeout"], dynamo["read_timeout"] = c.KV.DynamoDB.ConnectTimeout.String(), c.KV.DynamoDB.ReadTimeout.String()
	m["cluster"] = map[string]any{"beat": c.Cluster.Beat.String(), "dead": c.Cluster.Dead.String()}
	maskValues(m)
	return m, nil
}

const mask = "********"

// maskValues hides what REST bodies in the configuration keep secret.
func maskValues(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if text, ok := value.(string); ok && text != "" && slices.Contains([]string{"password", "secret_key", "bind_password", "secret"}, key) {
				v[key] = mask
				continue
			}
			maskValues(value)
		}
	case []any:
		for _, x := range v {
			maskValues(x)
		}
	}
}
