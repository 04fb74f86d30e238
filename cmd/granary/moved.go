package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"granary/kv"
	"granary/repo/config"
)

// dataFolder is where the data of an embedded store lay when it was last served.
type dataFolder struct {
	kv.Extra `cbor:"-"`
	Path     string `cbor:"1,keyasint,omitempty"` // absolute
}

func dataFolderKey() kv.Key { return kv.Config("start", "folder") }

// followData makes stores in the data folder lie in it still after the folder
// was moved, or copied: their roots are stored as absolute paths, and a copy
// that served the blobs of the original would delete them too.
func (n *node) followData(ctx context.Context) error {
	here, err := filepath.Abs(n.config.Data)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	folders := kv.Table[dataFolder]{Store: n.kv}
	before, _, err := folders.Get(ctx, dataFolderKey(), kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("look where the data lay: %w", err)
	}
	if before.Path == here {
		return nil
	}
	if before.Path != "" {
		for _, s := range n.registry.Stores() {
			if err := n.follow(ctx, s, before.Path, here); err != nil {
				return err
			}
		}
	}
	_, err = folders.Update(ctx, dataFolderKey(), func(old dataFolder, _ bool) (dataFolder, error) {
		old.Path = here
		return old, nil
	})
	if err != nil {
		return fmt.Errorf("note where the data lies: %w", err)
	}
	return nil
}

func (n *node) follow(ctx context.Context, s *config.Store, from, to string) error {
	below, err := filepath.Rel(from, s.Root)
	if s.Type != config.File || err != nil || below == ".." || strings.HasPrefix(below, ".."+string(filepath.Separator)) {
		return nil
	}
	root := filepath.Join(to, below)
	if _, err := os.Stat(root); err != nil {
		return fmt.Errorf("the data was moved from %s to %s, and store %s is not in it: %w", from, to, s.Name, err)
	}
	if _, err := n.registry.UpdateStore(ctx, s.Name, func(s *config.Store) error {
		s.Root = root
		return nil
	}); err != nil {
		return fmt.Errorf("move store %s along with the data to %s: %w", s.Name, root, err)
	}
	n.log.WarnContext(ctx, "the data folder was moved; a store in it moves along", "store", s.Name, "root", root)
	return nil
}

// noBlobs returns an error if there is a blob in a folder: a first start that
// took it over would delete it, with all others that the records which are not
// there, such as on a disk that is not mounted, know of.
func noBlobs(root string) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		return fmt.Errorf("there are files of another start, such as %s, and the key-value store beside them is new: bring its folder back, or move %s away to begin anew", path, root)
	})
	if err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	return nil
}
