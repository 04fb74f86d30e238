package rest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"granary/auth"
	"granary/repo/config"
)

// write puts everything in force, what is referred to first.
func (p *restorePlan) write(ctx context.Context) error {
	a := p.api
	for _, in := range p.stores {
		fill := func(s *config.Store) error {
			s.Type = config.StoreType(in.StoreType)
			return in.apply(s)
		}
		_, err := a.Registry.CreateStore(ctx, in.Name, func(s *config.Store) error {
			*s = config.NewStore(config.StoreType(in.StoreType))
			return fill(s)
		})
		if errors.Is(err, config.ErrExists) {
			_, err = a.Registry.UpdateStore(ctx, in.Name, fill)
		}
		if err != nil {
			return fmt.Errorf("restore store %s: %w", in.Name, err)
		}
	}
	for _, in := range p.repositories {
		if err := p.writeRepository(ctx, &in); err != nil {
			return fmt.Errorf("restore repository %s: %w", in.Name, err)
		}
	}
	for name, items := range p.quarantine {
		if _, err := a.Registry.UpdateRepository(ctx, name, func(r *config.Repository) error { r.Quarantine = items; return nil }); err != nil {
			return fmt.Errorf("restore the quarantine of %s: %w", name, err)
		}
	}
	for _, r := range p.Roles {
		if err := a.Auth.RestoreRole(ctx, r); err != nil {
			return fmt.Errorf("restore role %s: %w", r.Name, err)
		}
	}
	// Administrators first, so that there is always one.
	slices.SortStableFunc(p.Users, func(x, y auth.BackupUser) int {
		admin := func(u auth.BackupUser) int {
			if slices.Contains(u.Roles, auth.AdminRole) {
				return 0
			}
			return 1
		}
		return admin(x) - admin(y)
	})
	for _, u := range p.Users {
		if err := a.Auth.RestoreUser(ctx, u); err != nil {
			return err
		}
	}
	if err := p.writeWebhooks(ctx); err != nil {
		return err
	}
	if err := p.writeIdentity(ctx); err != nil {
		return err
	}
	_, err := a.Registry.UpdateSettings(ctx, func(s *config.Settings) error {
		next, err := a.newSettings(ctx, p.settings)
		*s = next
		return err
	})
	if err != nil {
		return fmt.Errorf("restore the settings: %w", err)
	}
	return nil
}

func (p *restorePlan) writeRepository(ctx context.Context, in *CreateRepositoryRequest) error {
	a := p.api
	_, err := a.Registry.CreateRepository(ctx, in.Name, func(r *config.Repository) (err error) {
		r.Type, r.Format = config.Type(in.RepoType), in.Format
		store := in.Store.value
		if store == "" {
			store = defaultStore
		}
		if r.Store, err = a.Registry.StoreID(ctx, "store", store); err != nil {
			return err
		}
		return a.apply(ctx, &in.RepositoryFields, r)
	})
	if errors.Is(err, config.ErrExists) {
		_, err = a.Registry.UpdateRepository(ctx, in.Name, func(r *config.Repository) error { return a.apply(ctx, &in.RepositoryFields, r) })
	}
	return err
}

// writeWebhooks goes by their names.
func (p *restorePlan) writeWebhooks(ctx context.Context) error {
	a := p.api
	for _, in := range p.webhooks {
		fill := func(w *config.Webhook) error {
			w.Name, w.URL = in.Name, in.URL
			return in.apply(w)
		}
		old := a.Registry.Webhooks()
		i := slices.IndexFunc(old, func(w *config.Webhook) bool { return w.Name == in.Name })
		var err error
		if i >= 0 {
			_, err = a.Registry.UpdateWebhook(ctx, old[i].ID, fill)
		} else {
			_, err = a.Registry.CreateWebhook(ctx, fill)
		}
		if err != nil {
			return fmt.Errorf("restore webhook %s: %w", in.Name, err)
		}
	}
	return nil
}
