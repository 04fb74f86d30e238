// Package retention decides what of a repository need not be kept any longer,
// and removes it. Preview and execution are one planner ([Planner.Plan]): what
// a dry run lists is what would be done, item by item, each with its reason.
//
// # Rules
//
// Versions that are too old, or that nobody has read for too long, are to go;
// where a repository has neither rule and says how many versions it keeps, all
// beyond these are. What protects wins: the last versions of each package, the
// latest one, and all whose package or version is not spoken of. A version is
// all records of a scope that the format says belong together.
//
// # What lives for others
//
// In a format whose records need each other, records that do not live by
// themselves go when nothing that stays keeps them ([formats.Keeper]). What is
// written while that is found out is looked at again before anything goes and
// once more after that: what came to be needed meanwhile is put back.
//
// A removal is conditional on the state that was judged.
package retention
