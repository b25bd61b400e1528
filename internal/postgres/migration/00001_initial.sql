-- The tables of a new installation. Forward only: what follows is another file.
--
-- events, deliveries and attempts are partitioned by UUIDv7 ranges, one UTC day each, and have no foreign keys; their
-- partitions are made by partitions.go, which also gives them their storage settings. A change of these tables that
-- adds an index must add it to the parent, where PostgreSQL passes it on to each partition.

-- +goose Up
CREATE TABLE tenants (
    id           uuid PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    rate_limit   json,
    ip_allowlist text[] NOT NULL
);

CREATE TABLE keys (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL,
    hash         bytea NOT NULL UNIQUE,
    name         text NOT NULL,
    prefix       text NOT NULL,
    scopes       text[] NOT NULL,
    rate_limit   json,
    ip_allowlist text[] NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX keys_tenant ON keys (tenant_id, id);

-- One row per tenant that ever had a subscription: no row is version 0.
CREATE TABLE subscription_versions (
    tenant_id uuid PRIMARY KEY,
    version   bigint NOT NULL
) WITH (fillfactor = 50);

-- policy is json, not jsonb: a client's text may hold \u0000, which jsonb refuses, and nothing looks inside.
CREATE TABLE subscriptions (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    version         bigint NOT NULL,
    status          text NOT NULL,
    disabled_reason text NOT NULL,
    policy          json NOT NULL,
    confidential    bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz
);
CREATE INDEX subscriptions_tenant ON subscriptions (tenant_id, id);
CREATE INDEX subscriptions_version ON subscriptions (tenant_id, version);

-- What accepting and claiming must know of a subscription, in one narrow row: url, policy and secrets are not here.
CREATE TABLE lanes (
    subscription_id uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    version         bigint NOT NULL,
    next_sequence   bigint NOT NULL DEFAULT 1,
    throttled_until timestamptz,
    breaker_until   timestamptz,
    failing_since   timestamptz,
    held_since      timestamptz,
    warned_at       timestamptz,
    held_for        interval NOT NULL DEFAULT '0',
    breaker_opens   integer NOT NULL DEFAULT 0,
    budget          integer NOT NULL,
    fifo            boolean NOT NULL,
    fifo_since      timestamptz, -- when it became so; NULL from the start
    deleted         boolean NOT NULL DEFAULT false,
    status          text NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX lanes_tenant ON lanes (tenant_id);
CREATE INDEX lanes_fifo ON lanes (subscription_id) WHERE fifo;

CREATE TABLE idempotency_keys (
    tenant_id  uuid NOT NULL,
    event_id   uuid NOT NULL,
    created_at timestamptz NOT NULL,
    key        text COLLATE "C" NOT NULL,
    hash       bytea NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE events (
    id              uuid NOT NULL,
    tenant_id       uuid NOT NULL,
    created_at      timestamptz NOT NULL,
    deliver_at      timestamptz,
    expires_at      timestamptz,
    payload_erased  timestamptz,
    deliveries      integer NOT NULL,
    type            text COLLATE "C" NOT NULL,
    content_type    text NOT NULL,
    ordering_key    text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    trace_parent    text NOT NULL,
    headers         json,
    payload         bytea NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);

-- visible_at is when the row may be claimed: due_at, or the end of the lease of the claim it has. touched marks what was
-- changed otherwise than by an attempt, so that those who watch can be told again.
CREATE TABLE deliveries (
    id               uuid NOT NULL,
    tenant_id        uuid NOT NULL,
    event_id         uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    due_at           timestamptz NOT NULL,
    visible_at       timestamptz NOT NULL,
    completed_at     timestamptz,
    expires_at       timestamptz,
    claim            uuid,
    claimed_by       uuid,
    replay_id        uuid,
    sequence         bigint NOT NULL,
    held_base        interval,
    payload_bytes    integer NOT NULL,
    attempts         integer NOT NULL,
    spent            integer NOT NULL,
    interruptions    integer NOT NULL,
    last_status_code integer NOT NULL,
    manual           smallint NOT NULL,
    touched          boolean NOT NULL,
    state            text COLLATE "C" NOT NULL,
    reason           text COLLATE "C" NOT NULL,
    event_type       text COLLATE "C" NOT NULL,
    ordering_key     text COLLATE "C" NOT NULL,
    last_outcome     text COLLATE "C" NOT NULL,
    last_error       text NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_queue ON deliveries (subscription_id, visible_at) WHERE state = 'pending';
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_subscription ON deliveries (subscription_id, id);
-- The rest hold few rows and cost the others nothing but a look at the condition.
CREATE INDEX deliveries_fifo ON deliveries (subscription_id, ordering_key, sequence) WHERE state = 'pending' AND sequence > 0;
CREATE INDEX deliveries_manual ON deliveries (visible_at) WHERE state = 'pending' AND manual <> 0;
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX deliveries_failed ON deliveries (tenant_id, id) WHERE state IN ('exhausted', 'cancelled');
CREATE INDEX deliveries_replay ON deliveries (replay_id, id) WHERE replay_id IS NOT NULL;
CREATE INDEX deliveries_touched ON deliveries (updated_at) WHERE touched;

-- The id is the claim's token. Times are microseconds.
CREATE TABLE attempts (
    id              uuid NOT NULL,
    tenant_id       uuid NOT NULL,
    delivery_id     uuid NOT NULL,
    event_id        uuid NOT NULL,
    subscription_id uuid NOT NULL,
    node_id         uuid,
    started_at      timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    number          integer NOT NULL,
    status_code     integer NOT NULL,
    dns_us          integer NOT NULL,
    connect_us      integer NOT NULL,
    tls_us          integer NOT NULL,
    first_byte_us   integer NOT NULL,
    total_us        integer NOT NULL,
    reused          boolean NOT NULL,
    manual          boolean NOT NULL,
    our_fault       boolean NOT NULL,
    body_truncated  boolean NOT NULL,
    outcome         text COLLATE "C" NOT NULL,
    error           text NOT NULL,
    detail          text NOT NULL,
    request         json,
    response        json,
    body            bytea,
    PRIMARY KEY (delivery_id, id)
) PARTITION BY RANGE (id);
-- Rows lie in the order they were recorded in, so a summary of page ranges finds the latest.
CREATE INDEX attempts_recorded ON attempts USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

-- One row per minute, subscription and node; the zero subscription sums the tenant. part 0 counts what was accepted, part 1
-- results, so that the two never wait for each other's row.
CREATE TABLE rollups (
    tenant_id       uuid NOT NULL,
    subscription_id uuid NOT NULL,
    node_id         uuid NOT NULL,
    minute          timestamptz NOT NULL,
    accepted        bigint NOT NULL DEFAULT 0,
    attempts        bigint NOT NULL DEFAULT 0,
    succeeded       bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    retried         bigint NOT NULL DEFAULT 0,
    exhausted       bigint NOT NULL DEFAULT 0,
    part            smallint NOT NULL,
    latency         bigint[],
    duration        bigint[],
    PRIMARY KEY (tenant_id, subscription_id, minute, node_id, part)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX rollups_age ON rollups (minute);

CREATE TABLE nodes (
    id         uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    drain      boolean NOT NULL DEFAULT false,
    report     json NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE leases (
    name       text COLLATE "C" PRIMARY KEY,
    node_id    uuid NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
