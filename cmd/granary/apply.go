package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"granary/client"
)

// applied is the document of granary apply: the entries of "initialization" of a
// server's configuration, below that key or by themselves.
type applied struct {
	Stores       []map[string]any `yaml:"stores"`
	Repositories []map[string]any `yaml:"repositories"`
	Roles        []map[string]any `yaml:"roles"`
	Users        []map[string]any `yaml:"users"`
	Settings     map[string]any   `yaml:"settings"`
}

func applyCommand() *cobra.Command {
	var a access
	var file string
	var dry bool
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Bring stores, repositories, roles, users and settings about as a file says", Args: cobra.NoArgs,
		Long: `Bring stores, repositories, roles, users and settings about as a file says.
The file is YAML with the lists stores, repositories, roles, users and the map
settings, whose entries are like REST bodies; it may be the "initialization" of a
server's configuration. What it does not name stays as it is, and nothing is
deleted. The plan is printed, a line for each change; with --dry-run that is all.
Passwords and secret keys are not compared: they are set with what is new.
Credentials come from --username and GRANARY_PASSWORD, or from GRANARY_TOKEN.`,
		Example: "  granary apply -f registry.yaml --server https://registry.example.com --dry-run",
		RunE: func(c *cobra.Command, _ []string) error {
			if a.server == "" {
				return errors.New("give --server or GRANARY_SERVER")
			}
			d, err := readApplied(c.InOrStdin(), file)
			if err != nil {
				return err
			}
			return apply(c, &a, d, dry)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the document; - is the standard input")
	c.Flags().BoolVar(&dry, "dry-run", false, "print the plan and change nothing")
	c.Flags().StringVar(&a.server, "server", os.Getenv("GRANARY_SERVER"), "server to change")
	c.Flags().StringVar(&a.username, "username", os.Getenv("GRANARY_USERNAME"), "user name; the password is GRANARY_PASSWORD")
	if err := c.MarkFlagRequired("file"); err != nil {
		panic(err) // there is no such flag: a mistake in this function
	}
	return c
}

func apply(c *cobra.Command, a *access, d client.Document, dry bool) error {
	server, cl := strings.TrimSuffix(a.server, "/"), a.client()
	if err := cl.Check(c.Context(), server, d); err != nil {
		return err
	}
	plan, err := cl.Plan(c.Context(), server, d)
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	if dry {
		for _, change := range plan {
			fmt.Fprintln(out, change)
		}
		fmt.Fprintf(out, "%d to change\n", len(plan))
		return nil
	}
	if err := cl.Apply(c.Context(), server, plan, func(change client.Change) { fmt.Fprintln(out, change) }); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d changed\n", len(plan))
	return nil
}

// readApplied refuses keys that it does not know, which are slips of the pen.
func readApplied(stdin io.Reader, file string) (client.Document, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(stdin)
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return client.Document{}, err
	}
	var whole struct {
		applied        `yaml:",inline"`
		Initialization *applied `yaml:"initialization"`
	}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	dec.KnownFields(true)
	if err := dec.Decode(&whole); err != nil {
		return client.Document{}, fmt.Errorf("read %s: %w", file, err)
	}
	d := whole.applied
	if whole.Initialization != nil {
		d = *whole.Initialization
	}
	return client.Document(d), nil
}
