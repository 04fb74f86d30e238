package docker

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"granary/formats"
)

var sum = "sha256:" + strings.Repeat("ab", 32)

func TestParseManifest(t *testing.T) {
	config := fmt.Sprintf(`"config":{"mediaType":"x","digest":%q,"size":1}`, sum)
	for _, c := range []struct {
		name, mediaType, data, problem string
	}{
		{"image", typeImage, `{"schemaVersion":2,` + config + `,"layers":[]}`, ""},
		{"docker image", typeDockerImage, `{"schemaVersion":2,"mediaType":"` + typeDockerImage + `",` + config + `}`, ""},
		{"index", typeIndex, `{"schemaVersion":2,"manifests":[]}`, ""},
		{"list", typeDockerList, fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q}]}`, sum), ""},
		{"unknown type", "application/vnd.example", "not even JSON", ""},
		{"unknown type that is JSON", "application/vnd.example+json", fmt.Sprintf(`{"subject":{"digest":%q}}`, sum), ""},
		{"schema 1", typeSchema1, `{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		{"signed schema 1", typeSigned1, `{}`, "schema 1"},
		{"schema 1 in disguise", typeImage, `{"schemaVersion":1}`, "schema 1"},
		{"no JSON", typeImage, `<html>`, "can't be read"},
		{"no version", typeImage, `{` + config + `}`, "schemaVersion"},
		{"other type, not known", "text/plain", `{"schemaVersion":2,"mediaType":"` + typeImage + `",` + config + `}`, "says that it is"},
		{"other type", typeImage, `{"schemaVersion":2,"mediaType":"` + typeIndex + `"}`, "says that it is"},
		{"no config", typeImage, `{"schemaVersion":2}`, "no config"},
		{"image and index", typeIndex, `{"schemaVersion":2,"manifests":[],` + config + `}`, "no config and no layers"},
		{"index and image", typeImage, `{"schemaVersion":2,"manifests":[],` + config + `}`, "no manifests"},
		{"bad digest", typeIndex, `{"schemaVersion":2,"manifests":[{"digest":"sha256:1"}]}`, "no digest"},
		{"bad subject", typeIndex, `{"schemaVersion":2,"subject":{"digest":"../.."}}`, "no digest"},
		{"negative size", typeIndex, fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q,"size":-1}]}`, sum), "size"},
		{"deep", typeImage, `{"schemaVersion":2,"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, "can't be read"},
		{"too many", typeIndex, `{"schemaVersion":2,"manifests":[` + strings.TrimSuffix(strings.Repeat(`{"digest":"`+sum+`"},`, maxRefs+1), ",") + `]}`, "at most"},
	} {
		_, err := parseManifest(c.mediaType, []byte(c.data))
		switch {
		case c.problem == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem) || formats.CodeOf(err) != codeManifestInvalid || !errors.Is(err, formats.ErrBadRequest)):
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		}
	}
}

func TestMediaTypeOf(t *testing.T) {
	for _, c := range []struct{ header, data, want string }{
		{"application/vnd.x; charset=utf-8", `{}`, "application/vnd.x"},
		{"", `{"mediaType":"m"}`, "m"},
		{"", `{"manifests":[]}`, typeIndex},
		{"", `{"layers":[]}`, typeImage},
		{"", `{"fsLayers":[]}`, typeSchema1},
	} {
		if got, err := mediaTypeOf(c.header, []byte(c.data)); err != nil || got != c.want {
			t.Errorf("%q, %s: %q, %v", c.header, c.data, got, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(typeImage, []byte(`{"schemaVersion":2,"config":{"digest":"`+sum+`"}}`))
	f.Add(typeIndex, []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+sum+`","data":"eA=="}]}`))
	f.Add("", []byte(`{`))
	f.Fuzz(func(t *testing.T, mediaType string, data []byte) {
		guessed, err := mediaTypeOf(mediaType, data)
		if err != nil {
			return
		}
		m, err := parseManifest(guessed, data)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v and %v", m, err)
		}
		if err != nil {
			if formats.CodeOf(err) == "" {
				t.Errorf("an error without a code: %v", err)
			}
			return
		}
		if m.Subject != nil {
			if _, err := pointer("a", m, descriptor{MediaType: guessed, Digest: sum}); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestParseContentRange(t *testing.T) {
	for _, c := range []struct {
		in          string
		first, size int64
		ok          bool
	}{
		{"0-0", 0, 1, true}, {"5-9", 5, 5, true}, {"bytes 0-9/*", 0, 10, true}, {"bytes=3-3/100", 3, 1, true},
		{"9-5", 0, 0, false}, {"", 0, 0, false}, {"-", 0, 0, false}, {"0-", 0, 0, false}, {"-5", 0, 0, false}, {"a-b", 0, 0, false},
		{"0-99999999999999999999", 0, 0, false}, {"0x1-2", 0, 0, false}, {"+1-2", 0, 0, false},
	} {
		first, size, err := parseContentRange(c.in)
		if (err == nil) != c.ok || first != c.first || size != c.size {
			t.Errorf("%q: %d, %d, %v", c.in, first, size, err)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("0-5")
	f.Add("bytes 1-2/3")
	f.Fuzz(func(t *testing.T, v string) {
		first, size, err := parseContentRange(v)
		if err == nil && (first < 0 || size <= 0 || first+size <= first) {
			t.Errorf("%q: %d, %d", v, first, size)
		}
	})
}
