-- +goose Up
-- The backlog once a minute: of all together under the zero tenant, and of the tenants with the longest.
CREATE TABLE queue_samples (
    tenant_id     BLOB NOT NULL,
    minute        INTEGER NOT NULL,
    pending       INTEGER NOT NULL,
    due           INTEGER NOT NULL,
    held          INTEGER NOT NULL,
    oldest_due_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, minute)
) WITHOUT ROWID;
CREATE INDEX queue_samples_by_age ON queue_samples (minute);
