-- +goose Up

-- What batches are handed over as: one array of rows costs a statement less than an array per column, each of which the server
-- unpacks by itself. A later version that needs other columns makes types of other names: nodes of both run side by side meanwhile.

CREATE TYPE event_row AS (
    id           uuid,
    tenant_id    uuid,
    version      bigint, -- of the subscriptions it was matched with; -1 is any
    key          text,
    matches      integer,
    type         text,
    content_type text,
    ordering_key text,
    trace_parent text,
    headers      json,
    deliver_at   timestamptz,
    expires_at   timestamptz,
    payload      bytea
);

CREATE TYPE match_row AS (
    event_id        uuid,
    tenant_id       uuid,
    subscription_id uuid,
    id              uuid,
    token           uuid,
    reason          text,
    type            text,
    ordering_key    text,
    deliver_at      timestamptz,
    expires_at      timestamptz,
    bytes           integer
);

CREATE TYPE result_row AS (
    id             uuid,
    token          uuid,
    sent           boolean,
    state          text,
    reason         text,
    delay          bigint, -- microseconds
    keep_due       boolean,
    spends         boolean,
    number         integer,
    outcome        text,
    status_code    integer,
    error          text,
    detail         text,
    started_at     timestamptz,
    manual         boolean,
    our_fault      boolean,
    request        json,
    response       json,
    body           bytea,
    body_truncated boolean,
    dns_us         integer,
    connect_us     integer,
    tls_us         integer,
    first_byte_us  integer,
    total_us       integer,
    reused         boolean,
    node_id        uuid,
    slow           integer, -- the bucket of total_us
    again          boolean,
    yield          boolean
);
