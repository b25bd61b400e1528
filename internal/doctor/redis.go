package doctor

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/redis"
)

// examineRedis connects as a node does.
func examineRedis(ctx context.Context, o Options) []Finding {
	const about = "redis"
	if o.Settings.RedisURL == "" {
		return nil
	}
	client, err := redis.New(redis.Options{URL: o.Settings.RedisURL})
	if err != nil {
		return []Finding{fail(about, "REDIS_URL: "+err.Error(), "write it as redis://[user:password@]host:6379/0, or rediss:// for TLS")}
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, lookTime/2)
	defer cancel()
	if _, err := client.Await(ctx); err != nil {
		return []Finding{warn(about, "Redis does not answer: "+client.State().LastError,
			"start it, or correct REDIS_URL; until then everything works, slower, and limits are kept per node")}
	}
	latency := client.State().Latency
	if latency > 20*time.Millisecond {
		return []Finding{warn(about, "a ping takes "+latency.Round(time.Millisecond).String(), "put Redis near the nodes: same region, same network")}
	}
	return []Finding{fine(about, "a ping takes %s", latency.Round(10*time.Microsecond))}
}
