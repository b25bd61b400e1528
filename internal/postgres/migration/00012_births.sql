-- A delivery that is born claimed and succeeds at its first attempt, as most do, is changed without a new entry in any index (HOT),
-- because nothing indexed changes: its state is in no index, and it is in the queue's only once it has waited (births.go).
-- Nodes of builds before this one must have stopped.

-- +goose Up
SET LOCAL statement_timeout = 0;

DROP INDEX IF EXISTS deliveries_queue, deliveries_fifo, deliveries_yielded, deliveries_manual, deliveries_expiring, deliveries_failed,
    deliveries_touched;

-- queued is what claims, counts and the upkeep look through: pending deliveries, but for those born claimed and not changed
-- since. touched_at is when one was last changed otherwise than by an attempt.
ALTER TABLE deliveries ADD COLUMN queued boolean NOT NULL DEFAULT false, ADD COLUMN touched_at timestamptz;
UPDATE deliveries SET queued = true WHERE state = 'pending';
UPDATE deliveries SET touched_at = updated_at WHERE touched;
ALTER TABLE deliveries DROP COLUMN touched;

CREATE INDEX deliveries_queue ON deliveries (subscription_id, visible_at) WHERE queued;
CREATE INDEX deliveries_fifo ON deliveries (subscription_id, ordering_key, sequence) WHERE queued AND sequence > 0;
CREATE INDEX deliveries_yielded ON deliveries (subscription_id, visible_at) WHERE queued AND sequence < 0;
CREATE INDEX deliveries_manual ON deliveries (visible_at) WHERE queued AND manual <> 0;
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE queued AND expires_at IS NOT NULL;
-- What ended without success has a reason.
CREATE INDEX deliveries_failed ON deliveries (tenant_id, id) WHERE reason <> '';
CREATE INDEX deliveries_touched ON deliveries (touched_at) WHERE touched_at IS NOT NULL;

-- Until when those born claimed were looked through for the ones whose node died: one row.
CREATE TABLE births (
    swept timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO births VALUES (now());
