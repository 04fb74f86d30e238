package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"granary/audit"
	"granary/httpapi/exchange"
)

// AuditEntry is a line of the audit log.
type AuditEntry struct {
	ID         string    `json:"id"`
	Timestamp  Timestamp `json:"timestamp"`
	Username   string    `json:"username" doc:"Who asked; of a log-in, who was named."`
	Credential string    `json:"credential" doc:"How the user was recognised; empty for nobody."`
	IP         string    `json:"ip"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Action     string    `json:"action"`
	Repo       *string   `json:"repo"`
	Status     int       `json:"status"`
	RequestID  string    `json:"request_id"`
	Count      int       `json:"count,omitempty" required:"false" doc:"How many refusals the entry stands for."`
}

// AuditPage is a part of the audit log, the newest first.
type AuditPage struct {
	Entries    []AuditEntry `json:"entries" nullable:"false"`
	NextCursor *string      `json:"next_cursor"`
}

type auditQuery struct {
	Since    string `query:"since" doc:"RFC 3339"`
	Until    string `query:"until" doc:"RFC 3339"`
	Username string `query:"username"`
	Repo     string `query:"repo"`
	Action   string `query:"action"`
	Limit    string `query:"limit" doc:"1 to 1000, by default 100."`
	Cursor   string `query:"cursor" doc:"next_cursor of the page before."`
}

const maxAuditPage = 1000

func (a *api) audit() {
	if a.Audit == nil {
		return
	}
	register(a, operation{
		id: "query-audit", method: http.MethodGet, path: "/audit", summary: "Who did what, the newest first", tag: "audit",
	}, a.queryAudit)
}

func (a *api) queryAudit(ctx context.Context, x *exchange.Exchange, in *auditQuery) (*answer[AuditPage], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	f := audit.Filter{Username: in.Username, Repo: in.Repo, Action: in.Action, Cursor: in.Cursor}
	var err error
	if f.Since, err = moment("since", in.Since); err != nil {
		return nil, err
	}
	if f.Until, err = moment("until", in.Until); err != nil {
		return nil, err
	}
	if f.Limit, err = number("limit", in.Limit, defaultLimit, 1); err != nil {
		return nil, err
	}
	f.Limit = min(f.Limit, maxAuditPage)
	page, err := a.Audit.Query(ctx, f)
	if errors.Is(err, audit.ErrCursor) {
		return nil, invalid("cursor", "is none that a page has given")
	}
	if err != nil {
		return nil, err
	}
	out := AuditPage{Entries: make([]AuditEntry, 0, len(page.Entries)), NextCursor: filled(page.Next)}
	for _, e := range page.Entries {
		out.Entries = append(out.Entries, AuditEntry{
			ID: e.ID, Timestamp: Timestamp(e.Time), Username: e.Username, Credential: e.Credential, IP: e.IP, Method: e.Method, Path: e.Path,
			Action: e.Action, Repo: filled(e.Repo), Status: e.Status, RequestID: e.RequestID, Count: e.Count,
		})
	}
	return &answer[AuditPage]{out}, nil
}

// moment reads a time; the zero time if there is none.
func moment(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, invalid(name, "must be a time of RFC 3339")
	}
	return t, nil
}
