package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"granary/client"
)

// access is how the client commands reach a server.
type access struct{ server, username string }

const accessHelp = `
An address is a URL such as https://registry.example.com/repository/files/a/b.txt, or
files/a/b.txt with --server (GRANARY_SERVER). Credentials come from --username and
GRANARY_PASSWORD, or from GRANARY_TOKEN.`

func clientCommands() []*cobra.Command {
	var a access
	cmds := []*cobra.Command{
		{
			Use: "put FILE ADDRESS", Short: "Upload a file", Args: cobra.ExactArgs(2),
			Long: "Upload a file. An address that ends in a slash takes the file's own name." + "\n" + accessHelp,
			RunE: func(c *cobra.Command, args []string) error { return a.put(c, args[0], args[1]) },
		},
		{
			Use: "get ADDRESS [FILE]", Short: "Download a file, going on where an earlier try broke off", Args: cobra.RangeArgs(1, 2),
			Long: "Download a file. A transfer that breaks off is taken up again; its part is kept beside the file for a later try." + "\n" + accessHelp,
			RunE: func(c *cobra.Command, args []string) error { return a.get(c, args) },
		},
		{
			Use: "ls ADDRESS", Short: "List a directory", Args: cobra.ExactArgs(1), Long: "List a directory." + "\n" + accessHelp,
			RunE: func(c *cobra.Command, args []string) error { return a.list(c, args[0]) },
		},
		{
			Use: "rm ADDRESS…", Short: "Delete artifacts", Args: cobra.MinimumNArgs(1), Long: "Delete artifacts." + "\n" + accessHelp,
			RunE: func(c *cobra.Command, args []string) error { return a.remove(c, args) },
		},
	}
	for _, c := range cmds {
		c.Flags().StringVar(&a.server, "server", os.Getenv("GRANARY_SERVER"), "server that addresses without a host are on")
		c.Flags().StringVar(&a.username, "username", os.Getenv("GRANARY_USERNAME"), "user name; the password is GRANARY_PASSWORD")
	}
	return cmds
}

func (a *access) client() *client.Client {
	return &client.Client{
		Username: a.username, Password: os.Getenv("GRANARY_PASSWORD"), Token: os.Getenv("GRANARY_TOKEN"), Progress: bar,
	}
}

func (a *access) artifact(address string) (client.Artifact, error) {
	if !strings.Contains(address, "://") {
		if a.server == "" {
			return client.Artifact{}, fmt.Errorf("%q names no server: give a URL, --server or GRANARY_SERVER", address)
		}
		address = strings.TrimSuffix(a.server, "/") + "/repository/" + strings.TrimPrefix(address, "/")
	}
	return client.ParseArtifact(address)
}

func (a *access) put(c *cobra.Command, file, address string) error {
	to, err := a.artifact(address)
	if err != nil {
		return err
	}
	if to.Path == "" || strings.HasSuffix(to.Path, "/") {
		to.Path += filepath.Base(file)
	}
	return a.client().Put(c.Context(), file, to)
}

func (a *access) get(c *cobra.Command, args []string) error {
	from, err := a.artifact(args[0])
	if err != nil {
		return err
	}
	file := path.Base(from.Path)
	if len(args) == 2 {
		file = args[1]
		if st, err := os.Stat(file); err == nil && st.IsDir() {
			file = filepath.Join(file, path.Base(from.Path))
		}
	}
	if from.Path == "" || strings.HasSuffix(from.Path, "/") {
		return fmt.Errorf("%s is a directory; get its files one by one", args[0])
	}
	return a.client().Get(c.Context(), from, file)
}

func (a *access) list(c *cobra.Command, address string) error {
	dir, err := a.artifact(address)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
	for l, err := range a.client().List(c.Context(), dir) {
		if err != nil {
			return err
		}
		name := l.Name
		if l.Dir {
			name += "/"
		}
		fmt.Fprintf(w, "%d\t%s\t  %s\n", l.Size, l.Modified.Local().Format(time.DateTime), name)
	}
	return w.Flush()
}

func (a *access) remove(c *cobra.Command, addresses []string) error {
	for _, address := range addresses {
		x, err := a.artifact(address)
		if err != nil {
			return err
		}
		if err := a.client().Remove(c.Context(), x); err != nil {
			return err
		}
	}
	return nil
}

// barFrom is the size in bytes from which a transfer shows its progress.
const barFrom = 4 << 20

// bar shows a transfer on a terminal, if it is a long one.
func bar(name string, size int64) client.Progress {
	var out io.Writer = os.Stderr
	if !term.IsTerminal(int(os.Stderr.Fd())) || size >= 0 && size < barFrom {
		out = io.Discard
	}
	p := mpb.New(mpb.WithOutput(out), mpb.WithWidth(50))
	b := p.AddBar(max(size, 0),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f "), decor.AverageETA(decor.ET_STYLE_GO)),
	)
	return &shown{p, b}
}

type shown struct {
	p *mpb.Progress
	b *mpb.Bar
}

func (s *shown) Done(n int64) { s.b.IncrInt64(n) }

func (s *shown) End() {
	if !s.b.Completed() {
		s.b.Abort(false)
	}
	s.p.Wait()
}
