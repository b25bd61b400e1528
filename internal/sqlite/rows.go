package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
)

// Columns are the columns of every table of the file but the migrations' own, as the file says, for those who take all
// rows elsewhere.
func (s *Store) Columns(ctx context.Context) (map[string][]string, error) {
	columns := map[string][]string{}
	rows, err := s.readers.QueryContext(ctx, `SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND m.name <> 'goose_db_version' ORDER BY m.name, c.cid`)
	err = each(rows, err, func(rows *sql.Rows) error {
		var table, column string
		err := rows.Scan(&table, &column)
		columns[table] = append(columns[table], column)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the tables: %w", fault(err))
	}
	return columns, nil
}

// Rows runs a query of a command that has the store for itself.
func (s *Store) Rows(ctx context.Context, query string) (*sql.Rows, error) {
	rows, err := s.readers.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", fault(err))
	}
	return rows, nil
}

// Retire closes the store and renames its file, so that nobody starts a node on it by mistake. It gives the new name.
func (s *Store) Retire() (string, error) {
	if err := s.Close(); err != nil {
		return "", err
	}
	to := s.path + moved
	for _, of := range slices.Backward([]string{"", "-wal", "-shm"}) {
		if err := os.Rename(s.path+of, to+of); err != nil && !os.IsNotExist(err) {
			return "", fmt.Errorf("rename the moved store: %w", err)
		}
	}
	return to, nil
}
