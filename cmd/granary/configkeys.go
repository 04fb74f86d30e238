package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// flat is a key as environment variables have it, in lower case.
func flat(key string) string { return strings.ReplaceAll(key, ".", "_") }

// unflatten takes keys that are written flat, upstream_deny, for those that they
// mean, upstream.deny.
func unflatten(k *koanf.Koanf, known []string) error {
	for _, key := range known {
		if name := flat(key); name != key && !slices.Contains(known, name) && k.Exists(name) {
			if err := k.Set(key, k.Get(name)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			k.Delete(name)
		}
	}
	return nil
}

// refuseUnknown names the keys that nothing reads. Below a key that is a map,
// such as initialization.settings, everything is known here.
func refuseUnknown(k *koanf.Koanf, known []string) error {
	var unknown []string
	for _, key := range k.Keys() {
		if !slices.ContainsFunc(known, func(have string) bool {
			return key == have || strings.HasPrefix(key, have+".") || strings.HasPrefix(have, key+".")
		}) {
			unknown = append(unknown, key)
		}
	}
	switch len(unknown) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("configuration: there is no key %s", unknown[0])
	}
	return fmt.Errorf("configuration: there are no keys %s", strings.Join(unknown, ", "))
}

// undecoded says in one line what values could not be read.
func undecoded(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without a heading
	}
	return errors.New("configuration: " + strings.ReplaceAll(err.Error(), "\n", "; "))
}

// ofClients are the variables that the client commands read.
var ofClients = []string{"GRANARY_SERVER", "GRANARY_USERNAME", "GRANARY_PASSWORD", "GRANARY_TOKEN"}

// unknownVariables are those of environ that look like a key and are none.
// Kubernetes makes some for a service that is called granary.
func unknownVariables(environ []string) ([]string, error) {
	_, known, err := defaultKeys()
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "GRANARY_") || slices.Contains(ofClients, name) ||
			strings.HasPrefix(name, "GRANARY_SERVICE_") || strings.HasPrefix(name, "GRANARY_PORT") {
			continue
		}
		if !slices.ContainsFunc(known, func(key string) bool { return name == "GRANARY_"+strings.ToUpper(flat(key)) }) {
			unknown = append(unknown, name)
		}
	}
	return unknown, nil
}
