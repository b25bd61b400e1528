package sqlite

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
)

// tally is what was counted in one minute.
type tally map[tallyKey]*counts

// tallyKey is a subscription's row, or with the zero subscription the tenant's total.
type tallyKey struct {
	tenant       posthorn.TenantID
	subscription posthorn.SubscriptionID
}

// counts are the counters of a row, in the order of countColumns.
type counts [countDurations + posthorn.LatencyBuckets]int64

// Their places, which are in the file: a further counter comes last.
const (
	countAccepted = iota
	countAttempts
	countSucceeded
	countFailed
	countRetried
	countExhausted
	countLatencies                                            // the first of as many as there are buckets
	countDurations = countLatencies + posthorn.LatencyBuckets // likewise
)

// countColumns are the columns of counts.
var countColumns = func() []string {
	names := []string{"accepted", "attempts", "succeeded", "failed", "retried", "exhausted"}
	for _, histogram := range []string{"latency_", "duration_"} {
		for i := range posthorn.LatencyBuckets {
			names = append(names, histogram+strconv.Itoa(i))
		}
	}
	return names
}()

// of is the row of a subscription or a tenant.
func (y tally) of(tenant posthorn.TenantID, subscription posthorn.SubscriptionID) *counts {
	key := tallyKey{tenant, subscription}
	c := y[key]
	if c == nil {
		c = &counts{}
		y[key] = c
	}
	return c
}

// both are a subscription's row and its tenant's total.
func (y tally) both(tenant posthorn.TenantID, subscription posthorn.SubscriptionID) [2]*counts {
	return [2]*counts{y.of(tenant, subscription), y.of(tenant, posthorn.SubscriptionID{})}
}

// attempted counts an attempt.
func (c *counts) attempted(outcome posthorn.Outcome, number int) {
	c[countAttempts]++
	if outcome == posthorn.Succeeded {
		c[countSucceeded]++
	} else {
		c[countFailed]++
	}
	if number > 1 {
		c[countRetried]++
	}
}

// add adds other counts.
func (c *counts) add(other *counts) {
	for i, n := range other {
		c[i] += n
	}
}

// keys are those of all rows, in their order in the rollups.
func (y tally) keys() []tallyKey {
	return slices.SortedFunc(maps.Keys(y), func(a, b tallyKey) int {
		return cmp.Or(bytes.Compare(a.tenant.UUID[:], b.tenant.UUID[:]), bytes.Compare(a.subscription.UUID[:], b.subscription.UUID[:]))
	})
}

// encode writes rows: of each the key, how many counters are not zero, and each of these with its place before it.
func (y tally) encode(keys []tallyKey) []byte {
	var b []byte
	for _, key := range keys {
		b = append(append(b, key.tenant.UUID[:]...), key.subscription.UUID[:]...)
		size := len(b)
		b = append(b, 0)
		for i, n := range y[key] {
			if n != 0 {
				b[size]++
				b = binary.AppendUvarint(append(b, byte(i)), uint64(n))
			}
		}
	}
	return b
}

// decode adds what encode wrote. What cannot be read of it is lost: statistics must not keep events out.
func (y tally) decode(b []byte) {
	for key, c := range readCounts(b) {
		y.of(key.tenant, key.subscription).add(c)
	}
}

// readCounts gives what encode wrote, each row's counts until the next one's. It ends before what it cannot read.
func readCounts(b []byte) iter.Seq2[tallyKey, *counts] {
	return func(yield func(tallyKey, *counts) bool) {
		var key tallyKey
		var c counts
		for len(b) > 2*len(posthorn.UUID{}) {
			b = b[copy(key.tenant.UUID[:], b):]
			b = b[copy(key.subscription.UUID[:], b):]
			c = counts{}
			left := b[0]
			for b = b[1:]; left > 0; left-- {
				if len(b) < 2 || int(b[0]) >= len(c) {
					return
				}
				n, size := binary.Uvarint(b[1:])
				if size <= 0 {
					return
				}
				c[b[0]] = int64(n)
				b = b[1+size:]
			}
			if !yield(key, &c) {
				return
			}
		}
	}
}

// leaveTally writes what the transaction counted.
func (t *tx) leaveTally() error {
	if len(t.counts) == 0 {
		return nil
	}
	b := t.counts.encode(t.counts.keys())
	t.tallied += len(b)
	_, err := t.exec(`INSERT INTO tallies (minute, summed, counts) VALUES (?, 0, ?)`, t.now.Truncate(time.Minute).UnixMicro(), b)
	return err
}
