package sqlite

import (
	"database/sql/driver"
	"iter"
	"slices"
	"strings"
)

// chunkSize bounds the parameters of one reading statement.
const chunkSize = 200

// chunks cuts a list of ids into lists that one statement can name.
func chunks[V any](list []V) iter.Seq[[]V] { return slices.Chunk(list, chunkSize) }

// marks are n parameters.
func marks(n int) string { return strings.Repeat("?, ", n-1) + "?" }

// prepend makes arguments of a list and what comes before it.
func prepend[V driver.Valuer](list []V, first ...any) []any {
	args := first
	for _, v := range list {
		args = append(args, v)
	}
	return args
}

// qualified names the columns of one of several tables.
func qualified(table, columns string) string {
	names := strings.Split(columns, ",")
	for i := range names {
		names[i] = table + "." + strings.TrimSpace(names[i])
	}
	return strings.Join(names, ", ")
}
