-- +goose Up

-- What a transaction counted, until it is folded into the rollups (rollups.go): one row for all of it, in no index, which waits for
-- nobody else's. Entries are the same place of each array. kinds is a sum of 1 for what was accepted, 2 an attempt, 4 one that failed,
-- 8 a retry and 16 a delivery that was exhausted, and without an element 1; latencies is the bucket of a delivery that succeeded and
-- durations that of a request, if any; counts is how many such there were. An entry of the zero subscription is of its tenant alone.
CREATE TABLE tallies (
    at               timestamptz NOT NULL,
    tenant_ids       uuid[] NOT NULL,
    subscription_ids uuid[] NOT NULL,
    kinds            smallint[] NOT NULL DEFAULT '{}',
    latencies        smallint[] NOT NULL DEFAULT '{}',
    durations        smallint[] NOT NULL DEFAULT '{}',
    counts           int[] NOT NULL
) WITH (toast_tuple_target = 8160);

-- Only a fold writes rollups since: which node counted, and what, no longer keeps rows apart.
ALTER TABLE rollups ALTER COLUMN node_id SET DEFAULT '00000000-0000-0000-0000-000000000000', ALTER COLUMN part SET DEFAULT 0;
