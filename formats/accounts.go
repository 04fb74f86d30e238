package formats

import (
	"context"
	"errors"
	"time"
)

// Accounts is what a [Caller] may do about the caller's own account, for clients
// that log in through a repository. Its errors are put into an answer by the
// core.
type Accounts interface {
	// Username is who asks, and an error that asks for a log-in if that is
	// nobody.
	Username() (string, error)
	// Login checks a password and returns a new token of that user, who must
	// have a right in the repository.
	Login(ctx context.Context, username, password string) (token string, err error)
	// Tokens lists the caller's tokens.
	Tokens(ctx context.Context) ([]AccountToken, error)
	// CreateToken makes one and returns its text, which is not kept.
	CreateToken(ctx context.Context, password string, readOnly bool) (AccountToken, string, error)
	// EndToken ends a token of the caller's by its id or its text.
	EndToken(ctx context.Context, token string) error
}

// AccountToken is a token as it is listed.
type AccountToken struct {
	ID       string
	Shown    string // enough of it to recognise it by
	ReadOnly bool
	Created  time.Time
}

type accountsKey struct{}

// WithAccounts gives a [Caller] the caller's account.
func WithAccounts(ctx context.Context, a Accounts) context.Context {
	return context.WithValue(ctx, accountsKey{}, a)
}

// AccountsOf returns what WithAccounts gave, or accounts of nobody where that
// was not called.
func AccountsOf(ctx context.Context) Accounts {
	if a, ok := ctx.Value(accountsKey{}).(Accounts); ok {
		return a
	}
	return noAccounts{}
}

// noAccounts is a server without users.
type noAccounts struct{}

var errNoAccounts = errors.New("this server has no users")

func (noAccounts) Username() (string, error) { return "", errNoAccounts }
func (noAccounts) Login(context.Context, string, string) (string, error) {
	return "", errNoAccounts
}
func (noAccounts) Tokens(context.Context) ([]AccountToken, error) { return nil, errNoAccounts }
func (noAccounts) CreateToken(context.Context, string, bool) (AccountToken, string, error) {
	return AccountToken{}, "", errNoAccounts
}
func (noAccounts) EndToken(context.Context, string) error { return errNoAccounts }
