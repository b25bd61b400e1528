-- +goose Up

-- What transactions counted, until it is folded into the rollups (rollups.go): a row for each batch, in no index, which waits for
-- nobody else's. Entries are the same place of each array. kinds is a sum of 1 for what was accepted, 2 an attempt, 4 one that failed,
-- 8 a retry and 16 a delivery that was exhausted, and without an element 1; latencies is the bucket of a delivery that succeeded and
-- durations that of a request, if any; counts is how many such there were. An entry of the zero subscription is of its tenant alone.
-- Rows stay in one piece where they fit a page; they go after seconds, and their pages are used again.
CREATE TABLE tallies (
    at               timestamptz NOT NULL,
    tenant_ids       uuid[] NOT NULL,
    subscription_ids uuid[] NOT NULL,
    kinds            smallint[] NOT NULL DEFAULT '{}',
    latencies        smallint[] NOT NULL DEFAULT '{}',
    durations        smallint[] NOT NULL DEFAULT '{}',
    counts           int[] NOT NULL
) WITH (toast_tuple_target = 8160, vacuum_truncate = off, toast.vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
