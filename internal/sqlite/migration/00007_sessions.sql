-- +goose Up

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY,
    key_id     BLOB NOT NULL,
    tenant_id  BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX sessions_by_key ON sessions (key_id, seen_at);
CREATE INDEX sessions_by_use ON sessions (seen_at);
CREATE INDEX sessions_by_age ON sessions (created_at);
