// Package auth knows who asks and what they may do: users, roles, passwords
// and tokens, kept in a [kv.Store] and held whole in memory by every node.
//
// # The one question
//
// [Service.Authenticate] turns a request into an [Identity], and
// [Identity.Can] tells whether it may read, write or delete in a repository.
// Nobody else decides either. Credentials that are wrong, expired or not
// understood are an error, never the anonymous user; a request without any is
// the user "anonymous", a record like the others that has no roles unless an
// administrator gives it some. What no role grants is denied.
//
// # What a change does
//
// A method that changes users, roles or keys writes one record by
// compare-and-swap, loads it, and then tells the cluster (Options.Notify),
// which answers once every live node has loaded it too. Cached verifications
// are keyed by the version of the user's record and so end with any change.
//
// # Secrets
//
// Passwords are stored as argon2id hashes that carry their parameters. Tokens
// are signed with a key made from a secret of the cluster and one of the user:
// replacing the former ends all tokens, replacing the latter those of one
// user. Both lie in the store as a [Sealer] leaves them. No secret appears in
// an error or in the printed form of any value of this package.
package auth
