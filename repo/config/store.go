package config

import (
	"time"

	"granary/kv"
)

// StoreType is the kind of a blob store.
type StoreType string

// The types of stores, as REST clients spell them.
const (
	File StoreType = "file"
	S3   StoreType = "s3"
)

// Store is a blob store as stored. Begin a new one with [NewStore]. What a
// [Registry] returns is shared: it must not be changed.
type Store struct {
	kv.Extra `cbor:"-"`

	ID      string    `cbor:"1,keyasint"` // ULID in lower case; never changes
	Name    string    `cbor:"2,keyasint"` // never changes
	Type    StoreType `cbor:"3,keyasint"`
	Created time.Time `cbor:"4,keyasint"`
	// Deleting is set while DeleteStore looks whether anything uses the store:
	// no repository is made on it then.
	Deleting bool `cbor:"5,keyasint,omitempty"`
	// Suspect is since when the store may hold bytes that are known to be wrong;
	// zero: it holds none. Readers then ask the reference to a content before they
	// open its blob. See [Registry.SuspectStore].
	Suspect time.Time `cbor:"6,keyasint,omitzero"`

	// Of a file store.
	Root     string `cbor:"10,keyasint,omitempty"`
	Sync     bool   `cbor:"11,keyasint,omitempty"`
	IOSize   int64  `cbor:"12,keyasint,omitempty"` // KiB
	DirectIO bool   `cbor:"13,keyasint,omitempty"`

	// Of an S3 store. Timeouts are in seconds, a ReadTimeout of 0 is none.
	Bucket         string    `cbor:"20,keyasint,omitempty"`
	Endpoint       string    `cbor:"21,keyasint,omitempty"`
	Region         string    `cbor:"22,keyasint,omitempty"`
	Prefix         string    `cbor:"23,keyasint,omitempty"`
	AccessKey      string    `cbor:"24,keyasint,omitempty"`
	SecretKey      Secret    `cbor:"25,keyasint"`
	MaxRetries     int64     `cbor:"26,keyasint,omitempty"`
	ConnectTimeout int64     `cbor:"27,keyasint,omitempty"`
	ReadTimeout    int64     `cbor:"28,keyasint,omitempty"`
	RetryMode      RetryMode `cbor:"29,keyasint,omitempty"`
}

// RetryMode is how an S3 client repeats what failed.
type RetryMode string

// The retry modes.
const (
	Standard RetryMode = "standard"
	Adaptive RetryMode = "adaptive"
)

// NewStore returns a store of a type with the defaults of all fields.
func NewStore(t StoreType) Store {
	switch t {
	case File:
		return Store{Type: t, Sync: true, IOSize: 1024}
	case S3:
		return Store{Type: t, Region: "us-east-1", MaxRetries: 3, ConnectTimeout: 3, RetryMode: Standard}
	}
	return Store{Type: t}
}

func (s *Store) secrets() []*Secret { return []*Secret{&s.SecretKey} }
