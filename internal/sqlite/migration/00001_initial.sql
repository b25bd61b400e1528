-- +goose Up

-- Times are microseconds since 1970 in UTC, durations microseconds; 0 and '' are absent and take no room. Ids are the 16
-- bytes of a UUIDv7, so that rows keyed by one are appended; an absent id is NULL.

CREATE TABLE tenants (
    id           BLOB PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    version      INTEGER NOT NULL, -- moves with every change of a subscription
    created_at   INTEGER NOT NULL,
    rate_limit   TEXT NOT NULL,
    ip_allowlist TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
    id           BLOB PRIMARY KEY,
    tenant_id    BLOB NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    rate_limit   TEXT NOT NULL,
    ip_allowlist TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL DEFAULT 0,
    last_used_at INTEGER NOT NULL DEFAULT 0,
    revoked_at   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX keys_by_tenant ON keys (tenant_id, id);

CREATE TABLE subscriptions (
    id              BLOB NOT NULL UNIQUE,
    tenant_id       BLOB NOT NULL,
    version         INTEGER NOT NULL,
    status          TEXT NOT NULL,
    disabled_reason TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    deleted_at      INTEGER NOT NULL DEFAULT 0,
    policy          TEXT NOT NULL,
    confidential    BLOB NOT NULL -- sealed
);

CREATE INDEX subscriptions_by_version ON subscriptions (tenant_id, version);
CREATE INDEX subscriptions_by_tenant ON subscriptions (tenant_id, id) WHERE deleted_at = 0;
CREATE INDEX subscriptions_deleted ON subscriptions (deleted_at) WHERE deleted_at > 0;

-- What accepting and claiming read, apart from the documents: one short row per subscription.
CREATE TABLE lanes (
    subscription_id BLOB PRIMARY KEY,
    tenant_id       BLOB NOT NULL,
    version         INTEGER NOT NULL, -- the subscription's
    phase           INTEGER NOT NULL, -- 0 open, 1 held (paused or disabled), 2 gone (deleted)
    fifo            INTEGER NOT NULL,
    sequence        INTEGER NOT NULL DEFAULT 0, -- the last number given
    throttled_until INTEGER NOT NULL DEFAULT 0,
    breaker_opens   INTEGER NOT NULL DEFAULT 0,
    breaker_until   INTEGER NOT NULL DEFAULT 0,
    failing_since   INTEGER NOT NULL DEFAULT 0,
    held_since      INTEGER NOT NULL DEFAULT 0,
    held_for        INTEGER NOT NULL DEFAULT 0,
    warned_at       INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX lanes_by_tenant ON lanes (tenant_id);

-- A rowid table: payloads would spill out of an index-organised one.
CREATE TABLE events (
    tenant_id       BLOB NOT NULL,
    id              BLOB NOT NULL,
    type            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    deliveries      INTEGER NOT NULL,
    content_type    TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    ordering_key    TEXT NOT NULL,
    headers         TEXT NOT NULL,
    deliver_at      INTEGER NOT NULL DEFAULT 0,
    expires_at      INTEGER NOT NULL DEFAULT 0,
    payload_erased  INTEGER NOT NULL DEFAULT 0,
    trace_parent    TEXT NOT NULL,
    payload         BLOB
);

CREATE UNIQUE INDEX events_by_tenant ON events (tenant_id, id);

CREATE TABLE idempotency_keys (
    tenant_id  BLOB NOT NULL,
    key        TEXT NOT NULL,
    content    BLOB NOT NULL, -- SHA-256
    event_id   BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITHOUT ROWID;

CREATE TABLE deliveries (
    id               BLOB PRIMARY KEY,
    tenant_id        BLOB NOT NULL,
    event_id         BLOB NOT NULL,
    subscription_id  BLOB NOT NULL,
    event_type       TEXT NOT NULL,
    state            INTEGER NOT NULL, -- 0 pending, 1 succeeded, 2 exhausted, 3 cancelled
    reason           TEXT NOT NULL,
    attempts         INTEGER NOT NULL,
    spent            INTEGER NOT NULL DEFAULT 0,
    interruptions    INTEGER NOT NULL DEFAULT 0,
    manual           INTEGER NOT NULL DEFAULT 0,
    due_at           INTEGER NOT NULL,
    visible_at       INTEGER NOT NULL, -- due_at, the lease's end while claimed, or the moment of a manual retry
    claim            BLOB,
    claimed_by       BLOB,
    ordering_key     TEXT NOT NULL,
    sequence         INTEGER NOT NULL,
    last_outcome     TEXT NOT NULL DEFAULT '',
    last_status_code INTEGER NOT NULL DEFAULT 0,
    last_error       TEXT NOT NULL DEFAULT '',
    held_base        INTEGER NOT NULL,
    replay_id        BLOB,
    expires_at       INTEGER NOT NULL DEFAULT 0, -- the event's
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    completed_at     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The queue. Every other index of pending deliveries is empty unless its feature is used.
CREATE INDEX deliveries_queue ON deliveries (subscription_id, visible_at) WHERE state = 0;
CREATE INDEX deliveries_order ON deliveries (subscription_id, ordering_key, sequence) WHERE state = 0 AND sequence > 0;
CREATE INDEX deliveries_manual ON deliveries (subscription_id, visible_at) WHERE state = 0 AND manual > 0;
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 0 AND expires_at > 0;
CREATE INDEX deliveries_by_event ON deliveries (event_id);
CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id, id);
CREATE INDEX deliveries_by_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_failed ON deliveries (tenant_id, id) WHERE state >= 2;
CREATE INDEX deliveries_ended ON deliveries (updated_at) WHERE state >= 2;
CREATE INDEX deliveries_by_replay ON deliveries (replay_id) WHERE replay_id IS NOT NULL;

-- moment is recorded_at, moved on by a microsecond where taken: the order in which attempts became known.
CREATE TABLE attempts (
    moment         INTEGER PRIMARY KEY,
    id             BLOB NOT NULL,
    delivery_id    BLOB NOT NULL,
    number         INTEGER NOT NULL,
    manual         INTEGER NOT NULL,
    started_at     INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    outcome        TEXT NOT NULL,
    our_fault      INTEGER NOT NULL,
    status_code    INTEGER NOT NULL,
    error          TEXT NOT NULL,
    detail         TEXT NOT NULL,
    request        TEXT NOT NULL,
    response       TEXT NOT NULL,
    body_truncated INTEGER NOT NULL,
    dns            INTEGER NOT NULL,
    connect        INTEGER NOT NULL,
    tls            INTEGER NOT NULL,
    first_byte     INTEGER NOT NULL,
    total          INTEGER NOT NULL,
    reused         INTEGER NOT NULL,
    node_id        BLOB,
    body           BLOB
);

CREATE UNIQUE INDEX attempts_by_delivery ON attempts (delivery_id, number);

-- The rows with an empty subscription are the tenant's totals.
CREATE TABLE rollups (
    minute          INTEGER NOT NULL,
    tenant_id       BLOB NOT NULL,
    subscription_id BLOB NOT NULL,
    node_id         BLOB NOT NULL,
    accepted        INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    succeeded       INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    retried         INTEGER NOT NULL DEFAULT 0,
    exhausted       INTEGER NOT NULL DEFAULT 0,
    latency_0       INTEGER NOT NULL DEFAULT 0,
    latency_1       INTEGER NOT NULL DEFAULT 0,
    latency_2       INTEGER NOT NULL DEFAULT 0,
    latency_3       INTEGER NOT NULL DEFAULT 0,
    latency_4       INTEGER NOT NULL DEFAULT 0,
    latency_5       INTEGER NOT NULL DEFAULT 0,
    latency_6       INTEGER NOT NULL DEFAULT 0,
    latency_7       INTEGER NOT NULL DEFAULT 0,
    latency_8       INTEGER NOT NULL DEFAULT 0,
    latency_9       INTEGER NOT NULL DEFAULT 0,
    latency_10      INTEGER NOT NULL DEFAULT 0,
    latency_11      INTEGER NOT NULL DEFAULT 0,
    duration_0      INTEGER NOT NULL DEFAULT 0,
    duration_1      INTEGER NOT NULL DEFAULT 0,
    duration_2      INTEGER NOT NULL DEFAULT 0,
    duration_3      INTEGER NOT NULL DEFAULT 0,
    duration_4      INTEGER NOT NULL DEFAULT 0,
    duration_5      INTEGER NOT NULL DEFAULT 0,
    duration_6      INTEGER NOT NULL DEFAULT 0,
    duration_7      INTEGER NOT NULL DEFAULT 0,
    duration_8      INTEGER NOT NULL DEFAULT 0,
    duration_9      INTEGER NOT NULL DEFAULT 0,
    duration_10     INTEGER NOT NULL DEFAULT 0,
    duration_11     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, tenant_id, subscription_id, node_id)
) WITHOUT ROWID;

CREATE TABLE nodes (
    id      BLOB PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    drain   INTEGER NOT NULL DEFAULT 0,
    report  TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    name    TEXT PRIMARY KEY,
    node_id BLOB NOT NULL,
    until   INTEGER NOT NULL
) WITHOUT ROWID;
