package storetest

import (
	"bytes"
	"errors"
	"reflect"
	"time"

	"github.com/posthorn/posthorn"
)

func sourceTests() group {
	return group{"Source", []test{
		{"KeepsEveryField", sourceKeepsFields},
		{"SecretsSealed", sourceSealed},
		{"Update", sourceUpdate},
		{"UpdateIsAtomic", sourceUpdateAtomic},
		{"Delete", sourceDelete},
		{"Find", sourceFind},
		{"List", sourceList},
		{"ForeignNotFound", sourceForeign},
		{"Count", sourceCount},
		{"KeyAlone", keyAlone},
	}}
}

// NewSource stores a source.
func (f *Fixture) NewSource(change ...func(*posthorn.Source)) *posthorn.Source {
	f.T.Helper()
	s := &posthorn.Source{
		ID: posthorn.SourceID{UUID: f.ID()}, TenantID: f.Tenant,
		SourcePolicy: posthorn.SourcePolicy{
			Name: "github", Provider: posthorn.ProviderGitHub, Tolerance: posthorn.DefaultTolerance,
			EventType: "github.{header.X-GitHub-Event}", DefaultType: "github.event",
		},
		Secrets: []posthorn.Secret{{Value: "storetest-source-secret", CreatedAt: f.Store.Now()}},
	}
	for _, c := range change {
		c(s)
	}
	f.must(f.Store.CreateSource(f.Context(), s))
	return s
}

func (f *Fixture) source(id posthorn.SourceID) *posthorn.Source {
	f.T.Helper()
	s, err := f.Store.GetSource(f.Context(), f.Tenant, id)
	f.must(err)
	return s
}

func sourceKeepsFields(f *Fixture) {
	now := f.Store.Now()
	want := f.NewSource(func(s *posthorn.Source) {
		s.Name, s.Description, s.Disabled, s.Provider = "Größe", "\"a\"", true, posthorn.ProviderHMAC
		s.Scheme = &posthorn.SigningScheme{
			Header: "X-Sig", Prefix: "v0=", Encoding: "hex", Algorithm: "sha512", SecretEncoding: "text", TimestampHeader: "X-At",
			Signed: "{timestamp}.{body}",
		}
		s.Tolerance, s.EventType, s.DefaultType, s.MessageID = 90*time.Second, "{payload.type}", "x", "{payload.id}"
		s.KeepHeaders = []string{"X-A", "X-B"}
		s.RateLimit = &posthorn.RateLimit{Limit: 3, Per: "minute"}
		s.Secrets = []posthorn.Secret{{Value: "new", CreatedAt: now}, {Value: "old", CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour)}}
		// Counts begin at nothing.
		s.Accepted = 7
	})
	f.wantIn("created_at", want.CreatedAt, 0)
	f.wantIn("updated_at", want.UpdatedAt, 0)
	got := f.source(want.ID)
	for i := range got.Secrets {
		if !got.Secrets[i].CreatedAt.Equal(want.Secrets[i].CreatedAt) || !got.Secrets[i].ExpiresAt.Equal(want.Secrets[i].ExpiresAt) {
			f.T.Fatalf("times of secret %d changed", i)
		}
		got.Secrets[i].CreatedAt, got.Secrets[i].ExpiresAt = want.Secrets[i].CreatedAt, want.Secrets[i].ExpiresAt
	}
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		f.T.Fatalf("stored %s and %s, answered %s and %s", got.CreatedAt, got.UpdatedAt, want.CreatedAt, want.UpdatedAt)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	equal(f, "accepted", got.Accepted, 0)
	if !reflect.DeepEqual(got, want) {
		f.T.Fatalf("stored\n%+v, want\n%+v", got, want)
	}
	bare := f.NewSource(func(s *posthorn.Source) { s.Secrets = nil })
	equal(f, "secrets of one without", len(f.source(bare.ID).Secrets), 0)
}

func sourceSealed(f *Fixture) {
	f.NewSource()
	if bytes.Contains(f.harness.AtRest(f.T, f.Store), []byte("storetest-source-secret")) {
		f.T.Fatal("the secret of a source can be read in what is stored")
	}
}

func sourceUpdate(f *Fixture) {
	made := f.NewSource()
	f.must(f.Store.CountSources(f.Context(), map[posthorn.SourceID]posthorn.SourceCounts{made.ID: {Accepted: 2}}))
	f.Elapse(time.Hour)
	answered, err := f.Store.UpdateSource(f.Context(), f.Tenant, made.ID, func(s *posthorn.Source) error {
		s.Name, s.Disabled = "other", true
		s.Secrets = append([]posthorn.Secret{{Value: "new"}}, s.Secrets...)
		// What is not the caller's to change stays.
		s.ID, s.TenantID, s.CreatedAt, s.Accepted = posthorn.SourceID{}, posthorn.TenantID{}, time.Time{}, 100
		return nil
	})
	f.must(err)
	for _, s := range []*posthorn.Source{answered, f.source(made.ID)} {
		equal(f, "id", s.ID, made.ID)
		equal(f, "tenant", s.TenantID, f.Tenant)
		equal(f, "name", s.Name, "other")
		equal(f, "disabled", s.Disabled, true)
		equal(f, "secrets", len(s.Secrets), 2)
		equal(f, "accepted", s.Accepted, 2)
		f.wantIn("created_at", s.CreatedAt, -time.Hour)
		f.wantIn("updated_at", s.UpdatedAt, 0)
	}
}

func sourceUpdateAtomic(f *Fixture) {
	made, refused := f.NewSource(), errors.New("refused")
	_, err := f.Store.UpdateSource(f.Context(), f.Tenant, made.ID, func(s *posthorn.Source) error {
		s.Name = "other"
		return refused
	})
	if !errors.Is(err, refused) {
		f.T.Fatalf("error is %v, want the change's own", err)
	}
	equal(f, "name", f.source(made.ID).Name, "github")
}

func sourceDelete(f *Fixture) {
	made := f.NewSource()
	f.must(f.Store.DeleteSource(f.Context(), f.Tenant, made.ID))
	f.wantKind(f.Store.DeleteSource(f.Context(), f.Tenant, made.ID), posthorn.NotFound, "delete a deleted one")
	_, err := f.Store.GetSource(f.Context(), f.Tenant, made.ID)
	f.wantKind(err, posthorn.NotFound, "get a deleted one")
	_, err = f.Store.FindSource(f.Context(), made.ID)
	f.wantKind(err, posthorn.NotFound, "find a deleted one")
}

func sourceFind(f *Fixture) {
	other := f.As(f.NewTenant("other"))
	for _, s := range []*posthorn.Source{f.NewSource(), other.NewSource()} {
		got, err := f.Store.FindSource(f.Context(), s.ID)
		f.must(err)
		equal(f, "tenant", got.TenantID, s.TenantID)
		equal(f, "secret", got.Secrets[0].Value, s.Secrets[0].Value)
	}
	_, err := f.Store.FindSource(f.Context(), posthorn.SourceID{UUID: f.ID()})
	f.wantKind(err, posthorn.NotFound, "find an unknown one")
	_, err = f.Store.FindSource(f.Context(), posthorn.SourceID{})
	f.wantKind(err, posthorn.NotFound, "find none")
}

func sourceList(f *Fixture) {
	var want []posthorn.UUID
	for range 5 {
		want = append([]posthorn.UUID{f.NewSource().ID.UUID}, want...)
	}
	f.As(f.NewTenant("other")).NewSource()
	walk(f, want, func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListSources(f.Context(), f.Tenant, p)
		f.must(err)
		for _, s := range list {
			ids = append(ids, s.ID.UUID)
		}
		return ids, next
	}, func() { f.NewSource() })
}

func sourceForeign(f *Fixture) {
	made := f.NewSource()
	other := f.As(f.NewTenant("other"))
	_, err := f.Store.GetSource(f.Context(), other.Tenant, made.ID)
	f.wantKind(err, posthorn.NotFound, "get another tenant's")
	_, err = f.Store.UpdateSource(f.Context(), other.Tenant, made.ID, func(*posthorn.Source) error { return nil })
	f.wantKind(err, posthorn.NotFound, "update another tenant's")
	f.wantKind(f.Store.DeleteSource(f.Context(), other.Tenant, made.ID), posthorn.NotFound, "delete another tenant's")
	f.source(made.ID)
	err = f.Store.CreateSource(f.Context(), &posthorn.Source{ID: posthorn.SourceID{UUID: f.ID()}, TenantID: posthorn.TenantID{UUID: f.ID()}})
	f.wantKind(err, posthorn.NotFound, "create for an unknown tenant")
}

func sourceCount(f *Fixture) {
	a, b := f.NewSource(), f.NewSource()
	now := f.Store.Now()
	add := func(c posthorn.SourceCounts) {
		f.T.Helper()
		f.must(f.Store.CountSources(f.Context(), map[posthorn.SourceID]posthorn.SourceCounts{a.ID: c, {UUID: f.ID()}: c}))
	}
	add(posthorn.SourceCounts{Accepted: 2, Duplicates: 1, LastAcceptedAt: now.Add(-time.Hour)})
	f.wantUnset("last_refused_at", f.source(a.ID).LastRefusedAt)
	add(posthorn.SourceCounts{Accepted: 1, Refused: 4, LastAcceptedAt: now.Add(-2 * time.Hour), LastRefusedAt: now.Add(-time.Minute)})
	got := f.source(a.ID)
	equal(f, "accepted", got.Accepted, 3)
	equal(f, "duplicates", got.Duplicates, 1)
	equal(f, "refused", got.Refused, 4)
	f.wantIn("last_accepted_at", got.LastAcceptedAt, -time.Hour)
	f.wantIn("last_refused_at", got.LastRefusedAt, -time.Minute)
	equal(f, "another's", f.source(b.ID).SourceCounts, posthorn.SourceCounts{})
	f.must(f.Store.CountSources(f.Context(), nil))
}

// keyAlone accepts a message again whose content is another by now.
func keyAlone(f *Fixture) {
	message := func(payload string, alone bool) posthorn.Acceptance {
		return f.Acceptance(f.NewEvent(func(e *posthorn.Event) {
			e.IdempotencyKey, e.Payload, e.KeyAlone = "src_1:msg_1", []byte(payload), alone
		}))
	}
	first := f.Accept(message(`{"pending": 2}`, true))[0]
	again := f.Accept(message(`{"pending": 1}`, true))[0]
	equal(f, "event", again.EventID, first.EventID)
	equal(f, "duplicate", again.Duplicate, true)
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{message(`{"pending": 2}`, false)})
	f.must(err)
	f.wantRefusal(answers[0].Err, posthorn.KeyUsed(), "the key under which a client publishes other content")
}
