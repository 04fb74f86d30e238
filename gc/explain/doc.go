// Package explain tells why a blob is kept, or why it is not: what names it,
// in which state its reference is, and how far the collector is with it.
//
// There is no index from a blob to what names it: a record costs no write for
// its blob. So an answer is looked for as a mark looks for it, through all
// repositories that use the store, a bounded number of items at a time; what is
// not through yet says so and where to go on ([Answer.Next]). What a mark counts
// is what is found here: sessions, publications and documents, records, history.
package explain
