package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/posthorn/posthorn"
)

// vaults are the tables with something sealed, and how each ties it to its row.
var vaults = []struct {
	find, replace string
	bind          func(tenant posthorn.TenantID, id posthorn.UUID) string
}{
	{
		`SELECT id, tenant_id, deleted_at > 0, confidential FROM subscriptions WHERE id > ? ORDER BY id LIMIT ?`,
		`UPDATE subscriptions SET confidential = ? WHERE id = ?`,
		func(tenant posthorn.TenantID, id posthorn.UUID) string {
			return (&posthorn.Subscription{TenantID: tenant, ID: posthorn.SubscriptionID{UUID: id}}).Binding()
		},
	},
	{
		`SELECT id, tenant_id, 0, secrets FROM sources WHERE id > ? ORDER BY id LIMIT ?`,
		`UPDATE sources SET secrets = ? WHERE id = ?`,
		func(tenant posthorn.TenantID, id posthorn.UUID) string {
			return (&posthorn.Source{TenantID: tenant, ID: posthorn.SourceID{UUID: id}}).Binding()
		},
	},
}

// Reseal does one step, in one transaction.
func (s *Store) Reseal(ctx context.Context, keys posthorn.Keyring, step posthorn.ResealStep) (posthorn.ResealReport, error) {
	var report posthorn.ResealReport
	if step.At.Table >= len(vaults) {
		report.Done = true
		return report, nil
	}
	table := vaults[step.At.Table]
	err := s.write(ctx, func(t *tx) error {
		var found []posthorn.Sealed
		rows, err := t.query(table.find, step.At.After[:], step.Limit)
		err = each(rows, err, func(rows *sql.Rows) error {
			var v posthorn.Sealed
			var id posthorn.SubscriptionID
			var tenant posthorn.TenantID
			err := rows.Scan(&id, &tenant, &v.Erase, &v.Bytes)
			v.ID, v.Bind = id.UUID, table.bind(tenant, id.UUID)
			found = append(found, v)
			return err
		})
		if err != nil {
			return err
		}
		anew := report.Judge(keys, found)
		report.Next = posthorn.ResealPlace{Table: step.At.Table + 1}
		if len(found) == step.Limit {
			report.Next = posthorn.ResealPlace{Table: step.At.Table, After: found[len(found)-1].ID}
		}
		report.Done = report.Next.Table == len(vaults)
		if step.Check {
			return nil
		}
		for i, sealed := range anew {
			if _, err := t.exec(table.replace, sealed, found[i].ID[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return posthorn.ResealReport{}, fmt.Errorf("reseal: %w", err)
	}
	return report, nil
}
