package limit

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// The scripts do what window.allow and pace.take do, in microseconds of Redis's own clock, so that the nodes' clocks need
// not agree. A key expires when nothing is left to remember.

// allowScript keeps the runs as a flat list: from, until, n, from, until, n, …
const allowScript = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, per, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('GET', KEYS[1])
held = held and cmsgpack.unpack(held) or {}
local runs, used, size = {}, 0, 0
for i = 1, #held, 3 do
  if held[i + 1] > now then
    runs[size + 1], runs[size + 2], runs[size + 3] = held[i], held[i + 1], held[i + 2]
    size, used = size + 3, used + held[i + 2]
  end
end
if used > 0 and used + n > limit then
  local excess, wait, i = math.min(used, used + n - limit), 0, 1
  while excess > 0 do
    wait, excess, i = runs[i + 1] - now, excess - runs[i + 2], i + 3
  end
  return {0, math.max(0, limit - used), wait}
end
if size > 0 and now - runs[size - 2] < per / 100 then
  runs[size - 1], runs[size] = math.max(runs[size - 1], now + per), runs[size] + n
else
  runs[size + 1], runs[size + 2], runs[size + 3] = now, now + math.floor(per * math.max(1, n / limit)), n
  size = size + 3
end
redis.call('SET', KEYS[1], cmsgpack.pack(runs), 'PX', math.ceil((runs[size - 1] - now) / 1000) + 1)
return {1, math.max(0, limit - used - n), 0}
`

const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, tolerance, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local pace = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local granted = 0
if pace - now <= tolerance then
  granted = math.min(want, math.floor((now + tolerance - pace) / interval) + 1)
  pace = pace + granted * interval
  redis.call('SET', KEYS[1], string.format('%.3f', pace), 'PX', math.ceil((pace - now) / 1000) + 1)
end
local some = math.max(1, math.min(want - granted, math.floor(tolerance / (2 * interval))))
return {granted, math.max(0, math.ceil(pace + (some - 1) * interval - tolerance - now))}
`

// allowShared asks Redis; false when it cannot be asked.
func (l *Limiter) allowShared(ctx context.Context, key string, q quota, n int) (Decision, bool) {
	answer := l.run(ctx, l.allow, "limit:allow:{"+key+"}", 3, strconv.Itoa(q.limit), microseconds(q.per), strconv.Itoa(n))
	if answer == nil {
		return Decision{}, false
	}
	return Decision{
		OK: answer[0] == 1, Remaining: int(answer[1]), RetryAfter: time.Duration(answer[2]) * time.Microsecond,
	}, true
}

// takeShared asks Redis; false when it cannot be asked.
func (l *Limiter) takeShared(ctx context.Context, key string, q quota, want int) (int, time.Duration, bool) {
	answer := l.run(ctx, l.take, "limit:take:{"+key+"}", 2, microseconds(q.interval()), microseconds(q.tolerance()), strconv.Itoa(want))
	if answer == nil {
		return 0, 0, false
	}
	return int(answer[0]), time.Duration(answer[1]) * time.Microsecond, true
}

// run executes a script on one key, which stands in braces so that a Cluster keeps what belongs together. The answer is
// nil when Redis is down or refuses.
func (l *Limiter) run(ctx context.Context, script *rueidis.Lua, name string, length int, args ...string) (answer []int64) {
	if l.redis == nil {
		return nil
	}
	err := l.redis.Do(ctx, func(ctx context.Context, r rueidis.Client) (err error) {
		answer, err = script.Exec(ctx, r, []string{l.redis.Name(name)}, args).AsIntSlice()
		return err
	})
	if err != nil || len(answer) != length {
		return nil
	}
	return answer
}

func microseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 3, 64)
}
