// Package config keeps what an administrator sets: repositories, stores and
// settings. Every node holds all of it in memory ([Registry]), reads it anew
// when the cluster says that it changed, and never asks the key-value store on
// the way of a request, except for a repository name that it doesn't know.
//
// # Names and ids
//
// A repository is addressed by an id that never changes; everything stored
// refers to it by that. Its name is a claim in cfg/name, made by
// PutIf(absent) before the repository is written, so that names are unique
// without a transaction. A claim counts only together with a repository that
// says the same name: one without is left over from a crash or about to be
// confirmed, and may be taken over after [ClaimGrace]. Members of groups, stores
// and the like are ids too, so that a rename is cheap and what was deleted
// drops out by itself. Stores are never renamed: their documents are filed
// under their names.
//
// # Deletion
//
// A repository is gone when its id is in cfg/dead. What remains of it in
// cfg/repo, cfg/name and in groups is removed afterwards and ignored until
// then, so a crash half-way leaves nothing to repair.
//
// # Rules
//
// The Validate methods hold every rule of the REST surface on these documents
// and return a [FieldError] that names the field as REST clients spell it.
package config
