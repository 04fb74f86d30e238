package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const crashDir = "GRANARY_TEST_PEBBLE_CRASH"

// crashChild writes until it is killed, and prints the key of each write that
// is acknowledged. A record refers to what was lazily written before it.
func crashChild(dir string) {
	s, err := Open(dir, Options{Memtable: 256 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for w := range 8 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, n)
				err := s.PutIfLazy(context.Background(), crashItem("ref", id), "")
				if err == nil {
					err = s.PutIf(context.Background(), crashItem("rec", id), "")
				}
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println(id)
			}
		}()
	}
	select {}
}

func crashItem(partition, id string) kv.Item {
	return kv.Item{
		Key:     kv.Key{Partition: partition, Sort: id},
		Version: kv.Version(id),
		Value:   []byte(strings.Repeat(id, 50)),
	}
}

// TestKilled: what a killed process acknowledged is there when it is opened again.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []string
	for round := range 5 {
		acknowledged = append(acknowledged, killedRun(t, dir, time.Duration(100+50*round)*time.Millisecond)...)
		s := open(t, dir, Options{})
		for _, id := range acknowledged {
			for _, partition := range []string{"ref", "rec"} {
				want := crashItem(partition, id)
				got, err := s.Get(t.Context(), want.Key)
				if err != nil || got.Version != want.Version || string(got.Value) != string(want.Value) {
					t.Fatalf("round %d: acknowledged %v is %v, %v", round, want.Key, got, err)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) < 5*fewest {
		t.Fatalf("only %d writes were acknowledged", len(acknowledged))
	}
	t.Logf("%d acknowledged writes survived", len(acknowledged))
}

// fewest is how many writes a child acknowledges at least.
const fewest = 20

// killedRun runs a child for some time after its first acknowledgements, which
// take longer on a slow disk, and returns what it acknowledged.
func killedRun(t *testing.T, dir string, life time.Duration) (ids []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var kill *time.Timer
	for lines.Scan() {
		if kill == nil && len(ids) >= fewest {
			kill = time.AfterFunc(life, func() { child.Process.Kill() }) //nolint:errcheck // it may be dead
		}
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
		}
		ids = append(ids, lines.Text())
	}
	child.Wait() //nolint:errcheck // it was killed
	return ids
}

// memory is a file system that can lose its power, with a disk of some size.
func memory(fs *vfs.MemFS) *vfs.MemFS {
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40})
	return fs
}

// TestPowerLoss: an acknowledged write is there after a power loss at any
// later time, whatever part of what was not synced got to the disk.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(4) {
		fs := memory(vfs.NewCrashableMem())
		dir := t.TempDir()
		s := open(t, dir, Options{fs: fs, Memtable: 256 << 10, Logger: quiet()})

		var mu sync.Mutex
		var acknowledged []string
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for w := range 4 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					id := fmt.Sprintf("%d-%d", w, n)
					err := errors.Join(s.PutIfLazy(ctx, crashItem("ref", id), ""), s.PutIf(ctx, crashItem("rec", id), ""))
					if err != nil {
						if ctx.Err() == nil {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, id)
					mu.Unlock()
				}
			})
		}
		var ids []string
		for end := time.Now().Add(time.Minute); len(ids) == 0 && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			ids = acknowledged
			mu.Unlock()
		}
		lost := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed) * 30, RNG: rand.New(rand.NewPCG(seed, 1))})
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		s = open(t, dir, Options{fs: memory(lost), Logger: quiet()})
		for _, id := range ids {
			for _, partition := range []string{"ref", "rec"} {
				if _, err := s.Get(t.Context(), kv.Key{Partition: partition, Sort: id}); err != nil {
					t.Fatalf("seed %d: acknowledged %s %s: %v", seed, partition, id, err)
				}
			}
		}
		if len(ids) == 0 {
			t.Fatal("nothing was acknowledged")
		}
	}
}
