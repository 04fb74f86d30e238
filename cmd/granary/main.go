// Command granary is the server and its tools: it wires packages together and
// holds no logic of its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// version is what releases set with -ldflags "-X main.version=1.2.3".
var version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "granary:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "granary",
		Short: "A scale-out artifact repository manager",
		Long: `granary stores, proxies and serves packages. "granary serve" starts a server with
an embedded store in ./data; with kv.type: dynamodb any number of servers share
one table and one bucket. Configuration comes from a YAML file, from GRANARY_*
variables over it, and from flags over both.`,
		Version:       version + " " + revision(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var o options
	c.PersistentFlags().StringVar(&o.file, "config", "", "configuration file (granary.yaml in the data folder, if there is one)")
	c.PersistentFlags().StringVar(&o.data, "data", "", "folder of the embedded store and of the blobs of the store \"default\" (./data)")
	c.AddCommand(serveCommand(&o), configCommand(&o), storeCommand(&o), kvCommand(&o), versionCommand())
	c.AddCommand(clientCommands()...)
	c.AddCommand(applyCommand())
	c.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	pointToHelp(c)
	return c
}

// pointToHelp makes wrong arguments and flags end with where the right ones are.
func pointToHelp(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError(c, err) })
	for _, sub := range c.Commands() {
		if args := sub.Args; args != nil {
			sub.Args = func(c *cobra.Command, given []string) error {
				if err := args(c, given); err != nil {
					return usageError(c, err)
				}
				return nil
			}
		}
		pointToHelp(sub)
	}
}

func usageError(c *cobra.Command, err error) error {
	return fmt.Errorf("%w; \"%s --help\" tells more", err, c.CommandPath())
}

// options are the flags that several commands have.
type options struct {
	file, data string
	listen     string
}

func (o *options) load() (Config, error) {
	flags := map[string]any{}
	if o.data != "" {
		flags["data"] = o.data
	}
	if o.listen != "" {
		flags["http.listen"] = o.listen
	}
	return loadConfig(sources{file: o.file, environ: os.Environ(), flags: flags})
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintln(c.OutOrStdout(), "granary", version, revision())
		},
	}
}

// revision is the commit that the program was built from, if it is known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "(" + s.Value[:min(12, len(s.Value))] + ", " + info.GoVersion + ")"
		}
	}
	return "(" + info.GoVersion + ")"
}

func configCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "Print the effective configuration, with secrets masked", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := o.load()
			if err != nil {
				return err
			}
			m, err := conf.masked()
			if err != nil {
				return err
			}
			b, err := yaml.Marshal(m)
			if err != nil {
				return fmt.Errorf("print the configuration: %w", err)
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
}

// printable is v as JSON, for messages.
func printable(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func logLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(s))); err != nil {
		return 0, errors.New("log_level is " + s + "; debug, info, warn and error are possible")
	}
	return l, nil
}
