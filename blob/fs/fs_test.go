package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"granary/blob"
	"granary/blob/blobtest"
	"granary/integration/leak"
)

func TestMain(m *testing.M) { leak.Verify(m) }

func open1(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     Config
		named   bool
		many    int
		big     int64
		borders []int
	}{
		"unsynced": {many: 3000, big: 256 << 20},
		"synced":   {cfg: Config{Sync: true}, many: 300, borders: []int{1 << 20}},
		"named":    {cfg: Config{IOSize: 4096}, named: true, borders: []int{4096}},
		"direct":   {cfg: Config{DirectIO: true, IOSize: 10_000}, borders: []int{4096, 12288, 24576}},
	} {
		t.Run(name, func(t *testing.T) {
			blobtest.Suite{Many: c.many, Big: c.big, Boundaries: c.borders, Open: func(t *testing.T) blob.Store {
				s := open1(t, c.cfg)
				s.anonymous = s.anonymous && !c.named
				return s
			}}.Run(t)
		})
	}
}

// A folder that was a store is not made anew where its disk is not mounted.
func TestFolderThatIsGone(t *testing.T) {
	empty := t.TempDir()
	missing := filepath.Join(empty, "x")
	for _, root := range []string{empty, missing} {
		if _, err := Open(Config{Root: root, Existing: true}); !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), root) {
			t.Errorf("%s: %v", root, err)
		}
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	made := open1(t, Config{Root: missing})
	again := open1(t, Config{Root: missing, Existing: true})
	if made == again {
		t.Error("one store")
	}
}

// Several stores of one process may be opened on one folder at the same time.
func TestOpenAtOnce(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			s, err := Open(Config{Root: root})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
