-- +goose Up

-- The retry window of the subscription's own policy; 0 is the operator's.
ALTER TABLE lanes ADD COLUMN retry_window interval NOT NULL DEFAULT '0';

-- As text: of a policy that holds \u0000 no part can be asked for.
UPDATE lanes l SET retry_window = substring(s.policy::text FROM '"window_seconds": ?([0-9.eE+-]+)')::float8 * interval '1 second'
FROM subscriptions s WHERE s.id = l.subscription_id AND s.policy::text ~ '"window_seconds": ?[0-9]';
