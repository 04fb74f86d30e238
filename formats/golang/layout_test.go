package golang_test

import (
	"errors"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

func TestLayout(t *testing.T) {
	const base = mod + "/@v/v1.0.0"
	body := moduleZip(t, "v1.0.0", map[string]string{"a.go": "package m\n"})
	goMod := "module example.com/m\n\ngo 1.21\n"
	put := func(t *testing.T, s *formattest.Store, ext, body string, want error) {
		t.Helper()
		if _, err := s.Do("PUT", base+ext+";go.name=x", nil, []byte(body)); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("PUT %s: %v, want %v", ext, err, want)
		}
	}
	final := map[string]string{
		base + ".zip": body, base + ".mod": goMod, base + ".info": info, mod + "/@v/list": "v1.0.0\n", mod + "/@latest": info + "\n",
	}
	t.Run("zip first", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		put(t, s, ".zip", body, nil)
		expect(t, s, map[string]string{base + ".info": made, base + ".mod": goMod, mod + "/@latest": made + "\n"})
		put(t, s, ".mod", goMod, nil)
		put(t, s, ".mod", "module example.com/m\n", formats.ErrBadPackage)
		put(t, s, ".info", info, nil)
		expect(t, s, final)
		put(t, s, ".info", made, formats.ErrExists)
		put(t, s, ".zip", body, nil)
		expect(t, s, final)
	})
	t.Run("zip last", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		put(t, s, ".info", info, nil)
		put(t, s, ".mod", goMod, nil)
		expect(t, s, map[string]string{mod + "/@v/list": ""})
		if got := get(t, s, mod+"/@latest"); !strings.Contains(got, "not found") {
			t.Errorf("@latest without a zip: %s", got)
		}
		put(t, s, ".zip", body, nil)
		expect(t, s, final)
	})
	t.Run("wrong", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		put(t, s, ".mod", "module example.com/x\n", formats.ErrBadPackage)
		put(t, s, ".info", `{"Version":"v1.0.1"}`, formats.ErrBadPackage)
		put(t, s, ".zip", moduleZip(t, "v1.0.1", nil), formats.ErrBadPackage)
		put(t, s, ".mod", "module example.com/m\n", nil)
		for _, target := range []string{"example.com/m/@v/v1.0.zip", "example.com/m/@v/v2.0.0.mod", "Example.com/m/@v/v1.0.0.zip", "example.com/!M/@v/v1.0.0.info", "example.com/m/@v/.zip.zip"} {
			if _, err := s.Do("PUT", target, nil, []byte(body)); !errors.Is(err, formats.ErrBadRequest) {
				t.Errorf("PUT %s: %v", target, err)
			}
		}
		if got := strings.Join(s.Keys(), " "); got != base+".mod" {
			t.Errorf("stored %s", got)
		}
	})
	t.Run("zip replaces what came before it", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		put(t, s, ".mod", "module example.com/m\n", nil)
		put(t, s, ".info", `{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}`, nil)
		if _, err := upload(t, s, map[string]string{"zip": body, "info": info}); err != nil {
			t.Fatal(err)
		}
		expect(t, s, final)
		if _, err := upload(t, s, map[string]string{"zip": body, "info": made}); !errors.Is(err, formats.ErrExists) {
			t.Errorf("another info for a published version: %v", err)
		}
		expect(t, s, final)
	})
	t.Run("a zip without go.mod", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		body := string(formattest.Zip(t, formattest.Entry{Name: mod + "@v1.0.0/m.go", Content: "package m\n"}))
		put(t, s, ".mod", goMod, nil)
		if _, err := upload(t, s, map[string]string{"zip": body, "mod": "module example.com/m\n\ngo 1.20\n"}); err != nil {
			t.Fatal(err)
		}
		expect(t, s, map[string]string{base + ".mod": "module example.com/m\n\ngo 1.20\n"})
		if _, err := upload(t, s, map[string]string{"zip": body, "mod": goMod}); !errors.Is(err, formats.ErrExists) {
			t.Errorf("another go.mod for a published version: %v", err)
		}
	})
	t.Run("an info for one that was made", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		put(t, s, ".zip", body, nil)
		if _, err := upload(t, s, map[string]string{"zip": body, "info": info}); err != nil {
			t.Fatal(err)
		}
		expect(t, s, final)
	})
	t.Run("names not escaped", func(t *testing.T) {
		s := formattest.NewStore(t, format())
		body := formattest.Module(t, "example.com/Upper", "v1.0.0-RC1", nil)
		for _, target := range []string{"example.com/Upper/@v/v1.0.0-RC1.zip", "example.com/!upper/@v/v1.0.0-!r!c1.zip"} {
			if _, err := s.Do("PUT", target, nil, body); err != nil {
				t.Errorf("PUT %s: %v", target, err)
			}
		}
		expect(t, s, map[string]string{"example.com/!upper/@v/v1.0.0-!r!c1.zip": string(body)})
	})
}

func TestDelete(t *testing.T) {
	for _, target := range []string{"v1.0.0.zip", "v1.0.0.mod", "v1.0.0.info", "v1.0.0"} {
		s := formattest.NewStore(t, format())
		for _, version := range []string{"v1.0.0", "v1.1.0"} {
			if _, err := upload(t, s, map[string]string{"zip": moduleZip(t, version, nil)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Do("DELETE", mod+"/@v/"+target, nil, nil); err != nil {
			t.Errorf("DELETE %s: %v", target, err)
		}
		if got := strings.Join(s.Keys(), " "); strings.Contains(got, "v1.0.0") || strings.Count(got, "v1.1.0") != 4 {
			t.Errorf("DELETE %s leaves %s", target, got)
		}
		if _, err := s.Do("DELETE", mod+"/@v/"+target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("DELETE %s again: %v", target, err)
		}
	}
}
