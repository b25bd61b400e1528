-- A delivery that is born claimed and succeeds at its first attempt, as most do, is changed without a new entry in any index (HOT),
-- because nothing indexed changes: its state is in no index, and it is in the queue's only once it has waited (births.go).
-- Nodes of builds before this one must have stopped.

-- +goose Up
SET LOCAL statement_timeout = 0;

-- queued is what claims, counts and the upkeep look through: pending deliveries, but for those born claimed and not changed
-- since. touched_at is when one was last changed otherwise than by an attempt. A column takes the place of touched, as one that is
-- dropped would leave the parent table another layout than the partitions made after it.
ALTER TABLE deliveries ADD COLUMN touched_at timestamptz;
UPDATE deliveries SET touched_at = CASE WHEN touched THEN updated_at END, touched = state = 'pending' WHERE touched OR state = 'pending';
DROP INDEX IF EXISTS deliveries_queue, deliveries_fifo, deliveries_yielded, deliveries_manual, deliveries_expiring, deliveries_failed,
    deliveries_touched;
ALTER TABLE deliveries RENAME COLUMN touched TO queued;

CREATE INDEX deliveries_queue ON deliveries (subscription_id, visible_at) WHERE queued;
CREATE INDEX deliveries_fifo ON deliveries (subscription_id, ordering_key, sequence) WHERE queued AND sequence > 0;
CREATE INDEX deliveries_yielded ON deliveries (subscription_id, visible_at) WHERE queued AND sequence < 0;
CREATE INDEX deliveries_manual ON deliveries (visible_at) WHERE queued AND manual <> 0;
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE queued AND expires_at IS NOT NULL;
-- What ended without success has a reason.
CREATE INDEX deliveries_failed ON deliveries (tenant_id, id) WHERE reason <> '';
CREATE INDEX deliveries_touched ON deliveries (touched_at) WHERE touched_at IS NOT NULL;

-- The partitions that are there get the room that partitions.go gives to new ones. Those still empty, of the days ahead, are made anew
-- by it: of indexes that look the same to the planner it takes the youngest, and that must be the primary key.
-- +goose StatementBegin
DO $$ DECLARE part regclass; used boolean; BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'deliveries'::regclass LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part) INTO used;
        IF used OR part::text LIKE '%attic' THEN
            EXECUTE format('ALTER TABLE %s SET (fillfactor = 50)', part);
        ELSE
            EXECUTE format('DROP TABLE %s', part);
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd

-- One row: until when those born claimed were looked through for the ones whose node died, and which of them were left because
-- somebody else held them.
CREATE TABLE births (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    swept  timestamptz NOT NULL,
    passed uuid[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
INSERT INTO births (swept) VALUES (now());
