package posthorn

import (
	"context"
	"fmt"
)

// Vault keeps what is sealed in the store under the first of the operator's keys.
type Vault interface {
	// Reseal does one bounded step: it seals what is sealed under another key anew under the first one, or with Check only
	// counts it. What a key opens stays what it was, so no version moves; what is changed meanwhile is left to that change.
	// Tombstones lose what they still have sealed. What no key opens is counted and left as it is.
	Reseal(ctx context.Context, keys Keyring, step ResealStep) (ResealReport, error)
}

// Binding is what the subscription's sealed part is tied to. Sealed bytes go from store to store as they are (internal/move), so
// the text is one for all, and stays.
func (s *Subscription) Binding() string {
	return s.TenantID.String() + "/" + s.ID.String() + "/confidential"
}

// Binding is what the source's sealed secrets are tied to, as a subscription's.
func (s *Source) Binding() string { return s.TenantID.String() + "/" + s.ID.String() + "/secrets" }

// ResealStep is where a step begins (the zero place is the beginning) and how many rows it looks at.
type ResealStep struct {
	At    ResealPlace
	Limit int
	Check bool
}

// ResealPlace is how far a run has come. A run that is broken off may begin again: what is done is passed by.
type ResealPlace struct {
	Table int
	After UUID
}

// ResealReport answers one step.
type ResealReport struct {
	// Examined rows, of which Resealed were sealed anew (with Check: need to be) and Unreadable open with no key.
	Examined, Resealed, Unreadable int
	// Readable rows have something sealed that a key opens: under the first one, by its id alone.
	Readable int
	// Keys counts the rows found under each other key than the first, by its id in hex.
	Keys map[string]int
	// Next is where the next step begins; Done says that there is none.
	Next ResealPlace
	Done bool
}

// Keyring is the operator's keys (internal/seal): those that the store seals with. The binding ties sealed bytes to their row.
type Keyring interface {
	Seal(plaintext []byte, bind string) []byte
	Open(sealed []byte, bind string) ([]byte, error)
	// NeedsReseal reports bytes that are not sealed under the first key; KeyOf names the key they are sealed under.
	NeedsReseal(sealed []byte) bool
	KeyOf(sealed []byte) string
}

// Sealed is one sealed value of a row, to be looked at in a Reseal.
type Sealed struct {
	ID   UUID
	Bind string
	// Erase says that the row needs the value no more.
	Erase bool
	Bytes []byte
}

// Judge gives what a step should write instead of sealed values, by their place in the list, and counts into the report.
func (r *ResealReport) Judge(keys Keyring, values []Sealed) map[int][]byte {
	anew := map[int][]byte{}
	for i, v := range values {
		r.Examined++
		if len(v.Bytes) == 0 {
			continue
		}
		if !v.Erase && !keys.NeedsReseal(v.Bytes) {
			r.Readable++
			continue
		}
		if v.Erase {
			// A tombstone needs no key: its value is not opened, and not counted under one.
			anew[i] = []byte{}
			continue
		}
		if plain, err := keys.Open(v.Bytes, v.Bind); err == nil {
			anew[i] = keys.Seal(plain, v.Bind)
			r.Readable++
		} else {
			r.Unreadable++
		}
		if r.Keys == nil {
			r.Keys = map[string]int{}
		}
		r.Keys[keys.KeyOf(v.Bytes)]++
	}
	r.Resealed += len(anew)
	return anew
}

// Add makes a report the sum of itself and a further step's.
func (r *ResealReport) Add(step ResealReport) {
	r.Examined, r.Resealed = r.Examined+step.Examined, r.Resealed+step.Resealed
	r.Readable, r.Unreadable = r.Readable+step.Readable, r.Unreadable+step.Unreadable
	if r.Keys == nil {
		r.Keys = map[string]int{}
	}
	for id, n := range step.Keys {
		r.Keys[id] += n
	}
	r.Next, r.Done = step.Next, step.Done
}

// A Glance looks at 200 rows a step, until it has seen as many that open, and at most 16 steps: milliseconds.
const (
	glanceStep  = 200
	glanceSteps = 16
)

// Glance looks at the oldest sealed values, whether the keys open them, and changes nothing. Step is a Vault's Reseal.
func Glance(ctx context.Context, keys Keyring, step func(context.Context, Keyring, ResealStep) (ResealReport, error)) (ResealReport, error) {
	var sum ResealReport
	for range glanceSteps {
		r, err := step(ctx, keys, ResealStep{At: sum.Next, Limit: glanceStep, Check: true})
		if err != nil {
			return sum, err
		}
		if sum.Add(r); sum.Done || sum.Readable >= glanceStep {
			break
		}
	}
	return sum, nil
}

// NoneOpens says that there are sealed values and that the keys open none of them.
func (r *ResealReport) NoneOpens() bool { return r.Readable == 0 && r.Unreadable > 0 }

// Unopened says how many of the sealed values no key opens; "" where there are none.
func (r *ResealReport) Unopened() string {
	if r.Unreadable == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d secrets looked at do not open", r.Unreadable, r.Unreadable+r.Readable)
}
