package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

// auditTimeout bounds the writing of an entry, which goes on when the client has left.
const auditTimeout = 5 * time.Second

// change is what a handler says of what it did. Handlers say it as soon as it is done, so that a failure after it does not
// hide it.
type change struct {
	tenant        posthorn.TenantID
	object        string
	before, after any
	none          bool
}

// altered notes a change of the tenant's own: what the object was and became, as the API shows it, never with a secret.
func (c *call) altered(object string, before, after any) {
	c.alteredFor(c.tenant(), object, before, after)
}

// alteredFor is altered for another tenant than the key's.
func (c *call) alteredFor(tenant posthorn.TenantID, object string, before, after any) {
	c.change = &change{tenant: tenant, object: object, before: before, after: after}
}

// unaltered says that a request which might have changed something did not.
func (c *call) unaltered() { c.change = &change{none: true} }

// action is what an operation's entries are called; empty for those that leave none. An operation that forgot to say is
// named by its id, so that nothing goes unseen (and a test fails).
func (op *operation) action() string {
	if op.audit == "" && op.unaudited == "" && op.method != http.MethodGet {
		return op.id
	}
	return op.audit
}

// audit writes down what a request did, before it is answered. A change is done by then and answered as such even where
// it cannot be written down, which the log then says; a secret that nobody could trace is not shown.
func (h *Handler) audit(ctx context.Context, c *call, op *operation, failed error) error {
	action := op.action()
	if action == "" || failed != nil && c.change == nil || c.change != nil && c.change.none {
		return failed
	}
	if c.change == nil {
		c.altered(c.object, nil, nil)
	}
	e := h.auditEntry(c, action)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	err := h.store.RecordAudit(ctx, e)
	if err == nil {
		return failed
	}
	h.log.Error("change missing from the audit log", "action", e.Action, "object", e.Object, "tenant", e.TenantID, "via", e.Via,
		"key", e.KeyID, "address", e.Address, "client", e.Client, "request", e.RequestID, "error", err)
	if op.method == http.MethodGet {
		return err
	}
	return failed
}

func (h *Handler) auditEntry(c *call, action string) *posthorn.AuditEntry {
	e := &posthorn.AuditEntry{
		ID: posthorn.AuditID{UUID: posthorn.NewUUID(h.store.Now())}, TenantID: c.change.tenant, Via: viaOf(c.identity),
		KeyID: c.identity.Key.ID, KeyName: c.identity.Key.Name, Address: auth.ClientAddr(c.request, nil),
		RequestID: c.id, Action: action, Object: c.change.object,
		Before: auditDocument(c.change.before), After: auditDocument(c.change.after),
	}
	if c.from != e.Address {
		e.Client = c.from
	}
	return e
}

// auditDocument is a value as JSON, or nil. One that is too large is left out: the entry itself counts.
func auditDocument(v any) []byte {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v, jsonOptions)
	if err != nil || len(text) > posthorn.MaxAuditDocument {
		return nil
	}
	return text
}

// auditedSubscription is a subscription as it is shown, with what can be said of its secrets without telling them.
type auditedSubscription struct {
	subscription
	Secrets []auditedSecret `json:"secrets"`
	// ChangedHeaders are those whose values are others than before, as all values are masked.
	ChangedHeaders []string `json:"changed_headers,omitempty"`
	// ChangedCredentials are the secret parts of auth and tls that are others than before.
	ChangedCredentials []string `json:"changed_credentials,omitempty"`
}

type auditedSecret struct {
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

func auditView(s, was *posthorn.Subscription) auditedSubscription {
	view := auditedSubscription{subscription: showSubscription(s), Secrets: []auditedSecret{}}
	for _, secret := range s.Secrets {
		view.Secrets = append(view.Secrets, auditedSecret{secret.CreatedAt.UTC(), optional(secret.ExpiresAt)})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if old, had := was.Headers[name]; !had || old != s.Headers[name] {
			view.ChangedHeaders = append(view.ChangedHeaders, name)
		}
	}
	view.ChangedCredentials = changedCredentials(s, was)
	return view
}

func (h *Handler) registerAudit() {
	handle(h, operation{
		method: http.MethodGet, path: "/audit", id: "listAudit", tag: "Operations", scope: posthorn.ScopeManage,
		summary: "List the audit log",
		description: "Who changed what, from where, newest first: every change and every reveal of a secret, but not publishing. " +
			"Secrets, keys and header values are in no entry. Entries are kept for POSTHORN_AUDIT_RETENTION, 90 days by default.",
	}, h.listAudit)
}

// auditEntry is one change.
type auditEntry struct {
	ID           posthorn.AuditID  `json:"id" example:"aud_06f1kz9qj4v3g7c8n2m5x0y1za"`
	TenantID     posthorn.TenantID `json:"tenant_id" doc:"Whose things were changed."`
	At           time.Time         `json:"at"`
	Via          posthorn.Via      `json:"via" enum:"key,session,command" doc:"How the author was known: an API key, a dashboard session of one, or a command on the store."`
	KeyID        *posthorn.KeyID   `json:"key_id" doc:"The author's key."`
	KeyName      string            `json:"key_name" doc:"As it was called then."`
	Address      *string           `json:"address" doc:"Where the connection came from."`
	ForwardedFor *string           `json:"forwarded_for" doc:"The client's address, where a trusted proxy forwarded it."`
	RequestID    string            `json:"request_id"`
	Action       string            `json:"action" example:"subscription.update"`
	Object       *string           `json:"object" example:"sub_06f1kz9qj4v3g7c8n2m5x0y1za" doc:"The id of what was changed; null for many at once."`
	Before       *rawJSON          `json:"before" doc:"What it was, as the API shows it; null when it is new or not told."`
	After        *rawJSON          `json:"after" doc:"What it became, or what was asked of many."`
}

type auditQuery struct {
	Paging
	KeyID    string `query:"key_id" doc:"The author's key."`
	Action   string `query:"action" doc:"An action like key.create, or all of a noun like key.*."`
	Object   string `query:"object" doc:"The id of what was changed."`
	Since    moment `query:"since"`
	Until    moment `query:"until"`
	TenantID string `query:"tenant_id" doc:"Another tenant than your own, or all; needs the scope admin."`
}

// allTenants asks for the entries of every tenant.
const allTenants = "all"

func (q *auditQuery) tenant(c *call) (posthorn.TenantID, error) {
	if q.TenantID == "" {
		return c.tenant(), nil
	}
	if !c.identity.Key.Allows(posthorn.ScopeAdmin) {
		return posthorn.TenantID{}, posthorn.NewError(posthorn.Forbidden,
			"only a key with the scope admin may read other tenants' entries; leave tenant_id out")
	}
	if q.TenantID == allTenants {
		return posthorn.TenantID{}, nil
	}
	return filterID[posthorn.TenantID]("query.tenant_id", "tnt_", q.TenantID)
}

func (q *auditQuery) filter() (posthorn.AuditFilter, error) {
	var v posthorn.Violations
	f := posthorn.AuditFilter{Action: q.Action, Object: q.Object, Since: q.Since.Time, Until: q.Until.Time}
	if q.KeyID != "" {
		id, err := filterID[posthorn.KeyID]("query.key_id", "key_", q.KeyID)
		f.KeyID = id
		collect(&v, err)
	}
	for name, text := range map[string]string{"action": q.Action, "object": q.Object} {
		if utf8.RuneCountInString(text) > posthorn.MaxName {
			v.Add("query."+name, "must be at most %d characters", posthorn.MaxName)
		}
	}
	collect(&v, span(q.Since, q.Until))
	return f, v.Err()
}

func (h *Handler) listAudit(ctx context.Context, c *call, q *auditQuery) (*reply[list[auditEntry]], error) {
	page, form := pageOf(c, &q.Paging)
	f, err := q.filter()
	if err = further(form, err); err != nil {
		return nil, err
	}
	tenant, err := q.tenant(c)
	if err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListAudit(ctx, tenant, f, page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, showAudit), nil
}

func showAudit(e *posthorn.AuditEntry) auditEntry {
	is := auditEntry{
		ID: e.ID, TenantID: e.TenantID, At: e.At.UTC(), Via: e.Via, KeyName: e.KeyName, RequestID: e.RequestID, Action: e.Action,
		Object: nonEmpty(e.Object), Before: storedJSON(e.Before), After: storedJSON(e.After),
	}
	if !e.KeyID.IsZero() {
		is.KeyID = &e.KeyID
	}
	if e.Address.IsValid() {
		is.Address = nonEmpty(e.Address.String())
	}
	if e.Client.IsValid() {
		is.ForwardedFor = nonEmpty(e.Client.String())
	}
	return is
}

func storedJSON(text []byte) *rawJSON {
	if len(text) == 0 {
		return nil
	}
	return &rawJSON{jsontext.Value(text)}
}
