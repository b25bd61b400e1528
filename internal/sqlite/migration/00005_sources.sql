-- +goose Up

CREATE TABLE sources (
    id               BLOB PRIMARY KEY,
    tenant_id        BLOB NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    policy           TEXT NOT NULL,
    secrets          BLOB NOT NULL, -- sealed
    accepted         INTEGER NOT NULL DEFAULT 0,
    duplicates       INTEGER NOT NULL DEFAULT 0,
    refused          INTEGER NOT NULL DEFAULT 0,
    last_accepted_at INTEGER NOT NULL DEFAULT 0,
    last_refused_at  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX sources_by_tenant ON sources (tenant_id, id);
