-- +goose Up

-- catalogue is the version at the last change of the tenant's event types or of strict; a NULL strict leaves it to the
-- configuration.
ALTER TABLE subscription_versions ADD COLUMN catalogue bigint NOT NULL DEFAULT 0;
ALTER TABLE subscription_versions ADD COLUMN strict boolean;

-- schema and example are kept as they were written, so they are text.
CREATE TABLE event_types (
    tenant_id   uuid NOT NULL,
    name        text COLLATE "C" NOT NULL,
    id          uuid NOT NULL, -- orders lists
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    enforce     boolean NOT NULL,
    deprecated  boolean NOT NULL,
    description text NOT NULL,
    schema      text NOT NULL,
    example     text NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
CREATE UNIQUE INDEX event_types_age ON event_types (tenant_id, id);
