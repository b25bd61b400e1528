package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// vaults are the tables with something sealed, and how each ties it to its row.
var vaults = []struct {
	find, replace string
	bind          func(tenant posthorn.TenantID, id posthorn.UUID) string
}{
	{
		`SELECT id, tenant_id, deleted_at IS NOT NULL, confidential FROM subscriptions WHERE id > $1 ORDER BY id LIMIT $2`,
		`UPDATE subscriptions t SET confidential = n.value FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n(id, old, value)
			WHERE t.id = n.id AND t.confidential = n.old`,
		func(tenant posthorn.TenantID, id posthorn.UUID) string {
			return (&posthorn.Subscription{TenantID: tenant, ID: posthorn.SubscriptionID{UUID: id}}).Binding()
		},
	},
	{
		`SELECT id, tenant_id, false, secrets FROM sources WHERE id > $1 ORDER BY id LIMIT $2`,
		`UPDATE sources t SET secrets = n.value FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n(id, old, value)
			WHERE t.id = n.id AND t.secrets = n.old`,
		func(tenant posthorn.TenantID, id posthorn.UUID) string {
			return (&posthorn.Source{TenantID: tenant, ID: posthorn.SourceID{UUID: id}}).Binding()
		},
	},
}

// Reseal implements posthorn.Vault. Nothing is locked while it is opened and sealed: a row is written only where it is
// still what was read, and one that was changed meanwhile is sealed under the first key by that change.
func (s *Store) Reseal(ctx context.Context, keys posthorn.Keyring, step posthorn.ResealStep) (posthorn.ResealReport, error) {
	var report posthorn.ResealReport
	if step.At.Table >= len(vaults) {
		report.Done = true
		return report, nil
	}
	table := vaults[step.At.Table]
	after := step.At.After
	if after.IsZero() {
		// The zero id would be NULL.
		after[15] = 1
	}
	found, err := many(ctx, s, "read sealed values", func(row pgx.CollectableRow) (v posthorn.Sealed, err error) {
		var tenant uuid
		err = row.Scan((*uuid)(&v.ID), &tenant, &v.Erase, &v.Bytes)
		v.Bind = table.bind(posthorn.TenantID{UUID: posthorn.UUID(tenant)}, v.ID)
		return v, err
	}, table.find, uuid(after), step.Limit)
	if err != nil {
		return report, err
	}
	anew := report.Judge(keys, found)
	report.Next = posthorn.ResealPlace{Table: step.At.Table + 1}
	if len(found) == step.Limit {
		report.Next = posthorn.ResealPlace{Table: step.At.Table, After: found[len(found)-1].ID}
	}
	report.Done = report.Next.Table == len(vaults)
	if step.Check || len(anew) == 0 {
		return report, nil
	}
	var ids uuids
	var old, values [][]byte
	for i, v := range found {
		if sealed, ok := anew[i]; ok {
			ids, old, values = append(ids, v.ID), append(old, v.Bytes), append(values, sealed)
		}
	}
	return report, s.do(ctx, "write sealed values", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, table.replace, ids, old, values)
		return err
	})
}
