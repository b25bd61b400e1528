-- +goose Up

-- The retry window of the subscription's own policy, in microseconds; 0 is the operator's.
ALTER TABLE lanes ADD COLUMN retry_window INTEGER NOT NULL DEFAULT 0;

UPDATE lanes SET retry_window = coalesce((SELECT CAST(json_extract(s.policy, '$.retry.window_seconds') * 1000000 AS INTEGER)
    FROM subscriptions AS s WHERE s.id = lanes.subscription_id), 0);
