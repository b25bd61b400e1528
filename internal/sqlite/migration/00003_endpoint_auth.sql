-- +goose Up

-- What has left the order of a FIFO lane (its sequence is negative) and is retried when due: empty where no lane skips.
CREATE INDEX deliveries_yielded ON deliveries (subscription_id, visible_at) WHERE state = 0 AND sequence < 0;
