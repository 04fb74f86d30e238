package rest

import (
	"context"
	"net/http"

	"granary/httpapi/exchange"
)

// Resealed tells how many records were written.
type Resealed struct {
	Records int `json:"records"`
}

func (a *api) reseal() {
	register(a, operation{
		id: "reseal-secrets", method: http.MethodPost, path: "/settings/reseal", tag: "settings",
		summary: "Encrypt every stored secret with the secret_key in force",
	}, func(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Resealed], error) {
		if err := x.Administer(); err != nil {
			return nil, err
		}
		users, err := a.Auth.Reseal(ctx)
		if err != nil {
			return nil, err
		}
		others, err := a.Registry.Reseal(ctx)
		if err != nil {
			return nil, err
		}
		return &answer[Resealed]{Resealed{users + others}}, nil
	})
}
