package posthorn

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what a caller can do about an error. The HTTP status of each kind is decided in one place, internal/api.
type Kind uint8

const (
	// Internal is a fault of ours; its text is for the log, never for a client.
	Internal Kind = iota
	// Malformed input cannot be read at all.
	Malformed
	// Invalid input can be read and breaks a rule; Fields name each place.
	Invalid
	// Unauthenticated callers showed no key, or one that is unknown, expired or revoked.
	Unauthenticated
	// Forbidden callers are known and may not do this.
	Forbidden
	// NotFound covers what does not exist and what belongs to another tenant, alike.
	NotFound
	// Conflict means the present state does not allow the change.
	Conflict
	// TooLarge input exceeds a stated bound.
	TooLarge
	// RateLimited callers may repeat after RetryAfter.
	RateLimited
	// Unavailable means the store cannot answer now; repeat after RetryAfter with the same idempotency key.
	Unavailable
	// Stale means the event was matched against an old set of subscriptions; match again (internal to ingest).
	Stale
)

// Error is an error whose Message may be shown to a client. It never holds a value the client sent: that may be a secret.
type Error struct {
	Kind       Kind
	Message    string
	Fields     []FieldError
	RetryAfter time.Duration
	Err        error
}

// FieldError is one bad field: where it is (`body.url`, `query.limit`) and what would be right.
type FieldError struct {
	Location string
	Message  string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Location, f.Message)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first Error in err's chain; Internal where there is none, as for nil.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// NewError makes an error of a kind with a sentence for the client.
func NewError(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Expired is the Conflict of sending an event whose ExpiresAt is past.
func Expired(at time.Time) *Error {
	return NewError(Conflict, "the event expired at %s; publish it again", at.UTC().Format(time.RFC3339))
}

// PayloadErased is the Conflict of sending an event whose payload was erased.
func PayloadErased() *Error {
	return NewError(Conflict, "the event's payload was erased; it cannot be sent again")
}

// HasSucceeded is the Conflict of retrying a delivery that has.
func HasSucceeded() *Error {
	return NewError(Conflict, "the delivery has succeeded; replay its event to send it again")
}

// BeingSent is the Conflict of retrying a delivery that is claimed.
func BeingSent() *Error {
	return NewError(Conflict, "the delivery is being sent now; wait for the result")
}

// Unsubscribed is the Conflict of retrying a delivery to a subscription that was deleted.
func Unsubscribed() *Error { return NewError(Conflict, "the delivery's subscription was deleted") }

// HasEnded is the Conflict of ending a noun that has: "the replay has ended already".
func HasEnded(noun string) *Error { return NewError(Conflict, "the %s has ended already", noun) }

// NameTaken is the Conflict of creating a noun under a name in use: "another tenant has this name".
func NameTaken(noun string) *Error { return NewError(Conflict, "another %s has this name", noun) }

// KeyUsed is the Conflict of an idempotency key that stands for an event with other content.
func KeyUsed() *Error {
	return NewError(Conflict, "the idempotency key was used for an event with other content; use a new key")
}

// Absent is the NotFound error for a noun: "subscription not found".
func Absent(noun string) *Error { return NewError(NotFound, "%s not found", noun) }

// Patience is how long a request waits for a store that does not answer before it is told so: with what else an answer takes,
// within a second, so that a producer can go on with its retries.
const Patience = 750 * time.Millisecond

// FirstPatience is the same for what was never read before: that may be of any size, on a node that has just started.
const FirstPatience = 5 * time.Second

// Silent is the Unavailable error of a store that has not answered within Patience, where nothing was sent to be stored.
func Silent() *Error {
	return &Error{Kind: Unavailable, RetryAfter: time.Second, Message: "the store does not answer now; try again"}
}

// Away is the Unavailable error of a store that cannot do what it was asked to, as it is out of reach, locked or full; why is for the log.
func Away(after time.Duration, why error) *Error {
	return &Error{Kind: Unavailable, RetryAfter: after, Err: why, Message: "the store cannot answer now; try again"}
}

// Locked is the Unavailable error for a noun whose secrets are needed and cannot be opened; why is for the log.
func Locked(noun, why string) *Error {
	return &Error{
		Kind: Unavailable, RetryAfter: time.Minute, Err: errors.New(why),
		Message: "the secrets of this " + noun + " are sealed under a key that this server does not have; " +
			"the operator must put it back (POSTHORN_ENCRYPTION_KEYS, or encryption.key beside the database)",
	}
}

// Violations gathers field errors; its Err is nil when there are none.
type Violations []FieldError

// Add notes a bad field; location is relative to the object checked (`url`, `headers.X-A`).
func (v *Violations) Add(location, format string, args ...any) {
	*v = append(*v, FieldError{location, fmt.Sprintf(format, args...)})
}

// Err is an Invalid error with every violation, or nil.
func (v Violations) Err() error {
	if len(v) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Message: "the request has invalid values", Fields: v}
}

// TooManyToOrder is the Conflict of a subscription that cannot become FIFO now.
func TooManyToOrder() error {
	return NewError(Conflict, "more than %d deliveries are pending, too many to be put in order at once; let them be delivered or cancel them, then change the ordering", MaxNumbered)
}
