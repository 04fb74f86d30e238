package rest

import (
	"context"
	"net/http"

	"granary/httpapi/exchange"
)

// Health is the answer of GET /api/v1/health.
type Health struct {
	Status  string `json:"status"`
	Version string `json:"version"`
}

func (a *api) health() {
	type output struct {
		Status     int
		RetryAfter string `header:"Retry-After"`
		Body       Health
	}
	register(a, operation{id: "health", method: http.MethodGet, path: "/health", summary: "Whether this node takes requests", tag: "health"},
		func(context.Context, *exchange.Exchange, *none) (*output, error) {
			h := a.healthNow()
			if h.Status != healthy {
				return &output{Status: http.StatusServiceUnavailable, RetryAfter: "1", Body: h}, nil
			}
			return &output{Status: http.StatusOK, Body: h}, nil
		})
}

const healthy = "ok"

func (a *api) healthNow() Health {
	if a.Ready != nil && a.Ready() != nil {
		return Health{"not ready", a.Version}
	}
	return Health{healthy, a.Version}
}
