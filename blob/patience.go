package blob

import "context"

type patientKey struct{}

// Patient returns a context under which [Store.Create] may give a writer whose
// Write waits for others to give back the memory that it needs. It is for a
// body that nobody waits for who writes another one himself.
func Patient(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}

// IsPatient tells whether a context is one of [Patient].
func IsPatient(ctx context.Context) bool { return ctx.Value(patientKey{}) != nil }
