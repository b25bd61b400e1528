-- +goose Up

CREATE TABLE audit (
    id         BLOB PRIMARY KEY,
    tenant_id  BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    via        TEXT NOT NULL,
    key_id     BLOB,
    key_name   TEXT NOT NULL,
    address    TEXT NOT NULL,
    client     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    was        TEXT NOT NULL,
    became     TEXT NOT NULL
);

CREATE INDEX audit_by_tenant ON audit (tenant_id, id);
CREATE INDEX audit_by_age ON audit (created_at);
