-- Who changed what. Documents are text: a client's text may hold \u0000, which jsonb refuses, and nothing looks inside.

-- +goose Up
CREATE TABLE audit (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    created_at timestamptz NOT NULL,
    via        text NOT NULL,
    key_id     uuid,
    key_name   text NOT NULL,
    address    text NOT NULL,
    client     text NOT NULL,
    request_id text NOT NULL,
    action     text NOT NULL,
    object     text NOT NULL,
    was        text NOT NULL,
    became     text NOT NULL
);
CREATE INDEX audit_tenant ON audit (tenant_id, id);
CREATE INDEX audit_age ON audit (created_at);
