-- +goose Up

-- catalogue is the tenant's version at the last change of its event types or of strict; strict is 1, 0 or NULL, which leaves it
-- to the configuration.
ALTER TABLE tenants ADD COLUMN catalogue INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN strict INTEGER;

CREATE TABLE event_types (
    tenant_id   BLOB NOT NULL,
    name        TEXT NOT NULL,
    id          BLOB NOT NULL, -- orders lists
    description TEXT NOT NULL,
    schema      TEXT NOT NULL,
    example     TEXT NOT NULL,
    enforce     INTEGER NOT NULL,
    deprecated  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE UNIQUE INDEX event_types_by_age ON event_types (tenant_id, id);
