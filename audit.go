package posthorn

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// Via says how the author of a change had proved who they are.
type Via string

// The ways: an API key, a dashboard session of one, or a command run where the store is.
const (
	ViaKey     Via = "key"
	ViaSession Via = "session"
	ViaCommand Via = "command"
)

// AuditEntry is one change that was made, or one secret that was shown: who, from where, what. It never holds a secret.
type AuditEntry struct {
	ID AuditID
	// TenantID is whose things were changed.
	TenantID TenantID
	// At is the store's clock when the entry was written.
	At  time.Time
	Via Via
	// KeyID and KeyName are the author's key, as it was called then; without a key (a command) the id is zero.
	KeyID   KeyID
	KeyName string
	// Address is the socket's; Client the one a trusted proxy forwarded, zero where none did.
	Address, Client netip.Addr
	RequestID       string
	// Action is a noun and a verb: `subscription.update`.
	Action string
	// Object is the id of what was changed; empty for a change of many.
	Object string
	// Before and After are JSON documents as the API shows the object, or what was asked of many; nil where there is none.
	Before, After []byte
}

// MaxAuditDocument bounds Before and After, in bytes each.
const MaxAuditDocument = 64 << 10

// AuditFilter narrows a list of entries; zero fields do not.
type AuditFilter struct {
	KeyID KeyID
	// Action is one, or all of a noun: `subscription.*`.
	Action       string
	Object       string
	Since, Until time.Time
}

// Wants reports whether an entry passes the filter.
func (f *AuditFilter) Wants(e *AuditEntry) bool {
	noun, all := strings.CutSuffix(f.Action, "*")
	return (f.KeyID.IsZero() || f.KeyID == e.KeyID) && (f.Object == "" || f.Object == e.Object) &&
		(f.Action == "" || f.Action == e.Action || all && strings.HasPrefix(e.Action, noun)) &&
		(f.Since.IsZero() || !e.At.Before(f.Since)) && (f.Until.IsZero() || e.At.Before(f.Until))
}

// AuditStore keeps the audit log. Entries are written once and never changed.
type AuditStore interface {
	// RecordAudit writes an entry under the ID given and fills At.
	RecordAudit(ctx context.Context, e *AuditEntry) error
	// ListAudit lists a tenant's entries, or with the zero id those of all, newest first; the rows examined for one page
	// are bounded.
	ListAudit(ctx context.Context, tenant TenantID, f AuditFilter, p Page) ([]AuditEntry, UUID, error)
	// CleanAccess removes, at most batch of each, audit entries older than keep and sessions that have ended; false when
	// there is more.
	CleanAccess(ctx context.Context, keep time.Duration, batch int) (removed int, done bool, err error)
}
