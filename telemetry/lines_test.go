package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever the attributes, the line says what slog's own handler says.
func TestLinesAreThoseOfSlog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fast, slow bytes.Buffer
		rec := slog.NewRecord(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC(), slog.LevelInfo, rapid.String().Draw(t, "msg"), 0)
		for range rapid.IntRange(0, 14).Draw(t, "n") {
			key := rapid.StringMatching(`[a-z_]{1,12}`).Draw(t, "key")
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				rec.AddAttrs(slog.Int64(key, rapid.Int64().Draw(t, "int")))
			case 1:
				rec.AddAttrs(slog.Bool(key, true))
			default:
				rec.AddAttrs(slog.String(key, rapid.String().Draw(t, "value")))
			}
		}
		if err := NewLines(&fast).Handle(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if err := slog.NewJSONHandler(&slow, nil).Handle(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		if err := json.Unmarshal(fast.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v", fast.Bytes(), err)
		}
		if err := json.Unmarshal(slow.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("the line differs (-want +got):\n%s", diff)
		}
		if bytes.Count(fast.Bytes(), []byte("\n")) != 1 {
			t.Fatalf("%q is not one line", fast.Bytes())
		}
	})
}
