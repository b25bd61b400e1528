package limit

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// script does what usage.take does, in microseconds of Redis's own clock, so that the nodes' clocks need not agree. The
// usage is kept as a flat list: due, then from, until and n of each run. It expires when nothing is left to remember.
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, per, n, even, already = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == 'even', tonumber(ARGV[5])
local step, slack = per / limit, per / 20
local held = redis.call('GET', KEYS[1])
held = held and cmsgpack.unpack(held) or {now}
local usage, size, used = {math.max(held[1], now)}, 1, 0
for i = 2, #held, 3 do
  if held[i + 1] > now then
    usage[size + 1], usage[size + 2], usage[size + 3] = held[i], held[i + 1], held[i + 2]
    size, used = size + 3, used + held[i + 2]
  end
end

local function returns(n)
  local wait, i = 0, 2
  while n > 0 and i < size do
    wait, n, i = usage[i + 1] - now, n - usage[i + 2], i + 3
  end
  return wait
end

local room, granted = math.max(0, limit - used), 0
if even then
  local ahead = usage[1] - now
  if ahead <= slack then
    granted = math.min(n, room, math.floor((slack - ahead) / step) + 1)
  end
elseif n <= room or used <= already then
  granted = n
end
if granted > 0 then
  local last = now + math.floor(per * math.max(1, granted / limit))
  if size > 1 and now - usage[size - 2] < per / 200 then
    usage[size - 1], usage[size] = math.max(usage[size - 1], last), usage[size] + granted
  else
    usage[size + 1], usage[size + 2], usage[size + 3] = now, last, granted
    size = size + 3
  end
  if even then
    usage[1] = math.ceil(usage[1] + granted * step)
  end
  redis.call('SET', KEYS[1], cmsgpack.pack(usage), 'PX', math.ceil((math.max(usage[1], usage[size - 1]) - now) / 1000) + 1)
end

local wait = 0
if even then
  local next = math.max(1, math.min(n - granted, math.floor(slack / (2 * step))))
  wait = math.max(0, usage[1] + (next - 1) * step - slack - now, returns(used + granted + 1 - limit))
elseif granted == 0 then
  wait = returns(math.min(used, used + n - limit))
end
return {granted, math.max(0, room - granted), math.ceil(wait)}
`

// askRedis lets Redis decide; false when it is down or refuses. The key stands in braces so that a Cluster keeps together
// what is said of it.
func (l *Limiter) askRedis(ctx context.Context, key string, q quota, w wish) (grant, bool) {
	if l.redis == nil {
		return grant{}, false
	}
	mode := "once"
	if w.even {
		mode = "even"
	}
	keys := []string{l.redis.Name("limit:{" + key + "}")}
	args := []string{strconv.Itoa(q.limit), strconv.FormatInt(q.per.Microseconds(), 10), strconv.Itoa(w.n), mode, strconv.Itoa(w.already)}
	var answer []int64
	err := l.redis.Do(ctx, func(ctx context.Context, r rueidis.Client) (err error) {
		answer, err = l.script.Exec(ctx, r, keys, args).AsIntSlice()
		return err
	})
	if err != nil || len(answer) != 3 {
		return grant{}, false
	}
	return grant{n: int(answer[0]), left: int(answer[1]), wait: time.Duration(answer[2]) * time.Microsecond}, true
}
