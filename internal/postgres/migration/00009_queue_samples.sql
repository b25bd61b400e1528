-- +goose Up
-- The backlog once a minute: of all together under the zero tenant, and of the tenants with the longest.
CREATE TABLE queue_samples (
    tenant_id     uuid NOT NULL,
    minute        timestamptz NOT NULL,
    pending       integer NOT NULL,
    due           integer NOT NULL,
    held          integer NOT NULL,
    oldest_due_ms bigint NOT NULL,
    PRIMARY KEY (tenant_id, minute)
);
CREATE INDEX queue_samples_age ON queue_samples (minute);
