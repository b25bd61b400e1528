-- +goose Up

-- Replays make new deliveries of old events; plan and progress are documents.
CREATE TABLE replays (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL,
    state        text COLLATE "C" NOT NULL,
    plan         json NOT NULL,
    progress     json NOT NULL,
    cursor       uuid NOT NULL, -- the last id looked at
    error        text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    started_at   timestamptz,
    updated_at   timestamptz NOT NULL,
    completed_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX replays_tenant ON replays (tenant_id, id);
CREATE INDEX replays_active ON replays (id) WHERE completed_at IS NULL;
CREATE INDEX replays_ended ON replays (completed_at) WHERE completed_at IS NOT NULL;

-- When the subscription was last resumed without what it had held.
ALTER TABLE lanes ADD COLUMN skipped_at timestamptz;
