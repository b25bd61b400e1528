package postgres

import (
	"fmt"
	"strings"
	"testing"
)

// TestOpenExisting makes nothing and migrates nothing.
func TestOpenExisting(t *testing.T) {
	open := func(url string) error {
		s, err := Open(t.Context(), Options{URL: url, Sealer: reversing{}, MaxConns: 2, Existing: true})
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	url := databaseURL(t, testDatabases.create(t))
	for range 2 {
		if err := open(url); err == nil || !strings.Contains(err.Error(), "no store yet") {
			t.Fatalf("over an empty database: %v", err)
		}
	}
	s := openURL(t, url)
	if err := open(url); err != nil {
		t.Fatal(err)
	}
	exec(t, s, `DELETE FROM goose_db_version WHERE version_id > 10`)
	want := fmt.Sprintf("the schema is 10, this version expects %d: run posthorn migrate", s.expected)
	for range 2 {
		if err := open(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("over an older schema: %v", err)
		}
	}
	exec(t, s, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	if err := open(url); err != nil {
		t.Fatalf("over a newer schema: %v", err)
	}
}
