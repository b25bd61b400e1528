-- +goose Up

-- Replays make new deliveries of old events; plan and progress are documents.
CREATE TABLE replays (
    id           BLOB PRIMARY KEY,
    tenant_id    BLOB NOT NULL,
    state        TEXT NOT NULL,
    plan         TEXT NOT NULL,
    progress     TEXT NOT NULL,
    cursor       BLOB NOT NULL, -- the last id looked at
    error        TEXT NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    started_at   INTEGER NOT NULL DEFAULT 0,
    updated_at   INTEGER NOT NULL,
    completed_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX replays_by_tenant ON replays (tenant_id, id);
CREATE INDEX replays_active ON replays (id) WHERE completed_at = 0;
CREATE INDEX replays_ended ON replays (completed_at) WHERE completed_at > 0;

-- When the subscription was last resumed without what it had held.
ALTER TABLE lanes ADD COLUMN skipped_at INTEGER NOT NULL DEFAULT 0;
