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
func (s *Store) Reseal(ctx context.Context, keys posthorn.Keyring, step posthorn.ResealStep) (report posthorn.ResealReport, err error) {
	if step.Check {
		report, err = look(s.read(ctx), keys, step, nil)
	} else {
		err = s.write(ctx, func(t *tx) (err error) {
			report, err = look(t, keys, step, func(text string, id posthorn.UUID, sealed []byte) error {
				_, err := t.exec(text, sealed, id[:])
				return err
			})
			return err
		})
	}
	if err != nil {
		return posthorn.ResealReport{}, fmt.Errorf("reseal: %w", fault(err))
	}
	return report, nil
}

// look judges the sealed values of one step; replace, when set, gets those that are to be written.
func look(from querier, keys posthorn.Keyring, step posthorn.ResealStep, replace func(text string, id posthorn.UUID, sealed []byte) error) (posthorn.ResealReport, error) {
	var report posthorn.ResealReport
	if step.At.Table >= len(vaults) {
		report.Done = true
		return report, nil
	}
	table := vaults[step.At.Table]
	var found []posthorn.Sealed
	rows, err := from.query(table.find, step.At.After[:], step.Limit)
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
		return report, err
	}
	anew := report.Judge(keys, found)
	report.Next = posthorn.ResealPlace{Table: step.At.Table + 1}
	if len(found) == step.Limit {
		report.Next = posthorn.ResealPlace{Table: step.At.Table, After: found[len(found)-1].ID}
	}
	report.Done = report.Next.Table == len(vaults)
	if replace == nil {
		return report, nil
	}
	for i, sealed := range anew {
		if err := replace(table.replace, found[i].ID, sealed); err != nil {
			return report, err
		}
	}
	return report, nil
}
