-- +goose Up

CREATE TABLE sources (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    last_accepted_at timestamptz,
    last_refused_at  timestamptz,
    accepted         bigint NOT NULL DEFAULT 0,
    duplicates       bigint NOT NULL DEFAULT 0,
    refused          bigint NOT NULL DEFAULT 0,
    policy           json NOT NULL,
    secrets          bytea NOT NULL -- sealed
) WITH (fillfactor = 70);
CREATE INDEX sources_tenant ON sources (tenant_id, id);
