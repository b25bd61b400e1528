-- Dashboard sessions, by the SHA-256 of their tokens.

-- +goose Up
CREATE TABLE sessions (
    hash       bytea PRIMARY KEY,
    key_id     uuid NOT NULL,
    tenant_id  uuid NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX sessions_key ON sessions (key_id, seen_at);
CREATE INDEX sessions_use ON sessions (seen_at);
CREATE INDEX sessions_age ON sessions (created_at);
