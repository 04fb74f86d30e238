package explain

import (
	"fmt"

	"granary/repo/refs"
)

// Verdict is what becomes of a blob.
type Verdict string

// The verdicts.
const (
	Alive     Verdict = "alive"     // something names it
	Unnamed   Verdict = "unnamed"   // nothing does: the next round condemns it
	Condemned Verdict = "condemned" // a round found that nothing names it
	Deleting  Verdict = "deleting"  // its bytes are going
	Lost      Verdict = "lost"      // its bytes were found missing or wrong: never served
	Orphan    Verdict = "orphan"    // an object without a reference
	Unknown   Verdict = "unknown"   // not everything has been looked at
)

// Verdict says what becomes of the blob, and why in a sentence.
func (a Answer) Verdict() (Verdict, string) {
	switch {
	case a.Reference != nil && a.Reference.State == refs.Lost:
		return Lost, "its bytes were found missing or wrong; they are not served, and the next upload of this content heals everything that names it"
	case a.Reference != nil && a.Reference.State == refs.Deleting:
		return Deleting, "nothing named it in two rounds; its bytes are being deleted, and the next round finishes what this one does not"
	case len(a.Names) > 0 && a.Reference != nil && a.Reference.State == refs.Condemned:
		return Alive, "it was condemned, and something names it: the next round makes it live again"
	case len(a.Names) > 0:
		return Alive, fmt.Sprintf("a %s names it", a.Names[0].Kind)
	case a.Next != "":
		return Unknown, "nothing that was looked at so far names it; there is more to look at"
	case a.Reference == nil && a.Object != nil:
		return Orphan, "no reference and nothing else names it; a look for such objects deletes it when an earlier one has found it too and it is older than a day"
	case a.Reference == nil:
		return Unnamed, "the store has no such content"
	case a.Reference.State == refs.Condemned:
		return Condemned, a.sentence()
	}
	return Unnamed, "nothing names it; the next round condemns it, and the one after that deletes it"
}

// sentence says when a condemned blob goes.
func (a Answer) sentence() string {
	if a.Pending.Listed {
		return fmt.Sprintf("nothing names it; round %d left it condemned, and round %d deletes it unless it is used before", a.Pending.Round, a.Pending.Round+1)
	}
	return "nothing names it; it was condemned, but is not on the last round's list: the next round lists it, and the one after that deletes it"
}
