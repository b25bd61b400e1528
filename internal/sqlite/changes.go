package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// changes are the prepared statements of the writer that answer no rows, run without database/sql: it would copy each of the
// dozens of values that an event brings once more for every statement. They belong to the connection, inside Conn.Raw alone.
type changes struct {
	statements map[statementKey]driver.Stmt
	values     []driver.NamedValue // of the statement under way
}

func (c *changes) run(ctx context.Context, conn driver.ConnPrepareContext, key statementKey, text func() string, args []any) (
	driver.Result, error,
) {
	s, ok := c.statements[key]
	if !ok {
		var err error
		if s, err = conn.PrepareContext(ctx, text()); err != nil {
			return nil, fmt.Errorf("prepare %q: %w", key.text, err)
		}
		c.statements[key] = s
	}
	defer c.forget()
	for i, arg := range args {
		value, err := plainValue(arg)
		if err != nil {
			return nil, fmt.Errorf("value %d: %w", i+1, err)
		}
		c.values = append(c.values, driver.NamedValue{Ordinal: i + 1, Value: value})
	}
	return s.(driver.StmtExecContext).ExecContext(ctx, c.values)
}

// forget lets go of the values, which SQLite has copied.
func (c *changes) forget() {
	clear(c.values)
	c.values = c.values[:0]
}

// plainValue is a value as drivers take it.
func plainValue(v any) (driver.Value, error) {
	switch v.(type) {
	case nil, int64, string, []byte:
		return v, nil
	}
	return driver.DefaultParameterConverter.ConvertValue(v)
}

func (c *changes) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
