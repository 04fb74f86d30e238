package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"granary/blob/check"
	"granary/kv/dynamo"
	"granary/repo/config"
)

func storeCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Tools for blob stores"}
	c.AddCommand(&cobra.Command{
		Use: "check NAME", Short: "Prove that a store does what granary relies on", Args: cobra.ExactArgs(1),
		Long: `Reads, writes, lists, ranges, conditionally creates and deletes in the store, under
names of its own that it removes again, and says of each property whether the
store has it. The store is one of the configuration's or of the key-value store's;
an embedded key-value store must not be in use by a running server
(POST /api/v1/stores/NAME/check asks the server itself).`,
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := o.load()
			if err != nil {
				return err
			}
			return checkStore(c, &conf, args[0])
		},
	})
	return c
}

var errCheck = errors.New("the store does not do what granary relies on")

func checkStore(c *cobra.Command, conf *Config, name string) error {
	ctx := c.Context()
	s, err := storedStore(ctx, conf, name)
	if err != nil {
		return err
	}
	bs, err := openStore(ctx, s, nil)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	failed := false
	for _, r := range check.Run(ctx, bs) {
		result := "ok"
		switch {
		case r.Err != nil && r.Advisory:
			result = "advice: " + r.Err.Error()
		case r.Err != nil:
			result, failed = "FAILED: "+r.Err.Error(), true
		}
		fmt.Fprintf(w, "%s\t%s\n", r.Property, result)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed {
		return errCheck
	}
	return nil
}

// storedStore reads a store's configuration without joining the cluster.
func storedStore(ctx context.Context, conf *Config, name string) (_ *config.Store, err error) {
	n := &node{config: conf, log: slog.New(slog.DiscardHandler)}
	sealer, err := n.sealer()
	if err != nil {
		return nil, err
	}
	db, err := openKV(ctx, conf, n.log, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	registry := config.Open(config.Options{KV: db, Now: wallClock, Sealer: sealer})
	if err := registry.Load(ctx); err != nil {
		return nil, err
	}
	return registry.Store(ctx, name)
}

func kvCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "kv", Short: "Tools for the key-value store"}
	c.AddCommand(&cobra.Command{
		Use: "create-table", Short: "Create the DynamoDB table, if it is not there", Args: cobra.NoArgs,
		Long: `Creates the table that kv.dynamodb names: on-demand billing, expiry on x, and on
ScyllaDB Alternator the write isolation that granary needs. A table that is
there already is left as it is.`,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := o.load()
			if err != nil {
				return err
			}
			if conf.KV.Type != "dynamodb" {
				return errors.New("kv.type is not dynamodb: an embedded store needs no table")
			}
			if err := dynamo.CreateTable(c.Context(), dynamoConfig(&conf)); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "table %s is there\n", conf.KV.DynamoDB.Table)
			return nil
		},
	})
	return c
}
