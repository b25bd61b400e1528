package cache

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/redis"
	"github.com/redis/rueidis"
)

const (
	// maxShared bounds what is put into Redis of one tenant; larger ones are read from the store.
	maxShared = 8 << 20
	// writeShare bounds the time spent on writing: a set is not written again for this long for each of its subscriptions.
	writeShare = time.Millisecond
)

// shared is the copy in Redis: each tenant's whole set as one sealed value, which expires after the TTL. It is written
// after a load, in the background, and may be old: who reads it asks the store for the difference.
type shared struct {
	redis  *redis.Client
	sealer Sealer
	ttl    time.Duration
	log    *slog.Logger

	offers chan offer
	life   context.Context
	end    context.CancelFunc
	writer sync.WaitGroup
}

type offer struct {
	tenant posthorn.TenantID
	set    *Set
}

// document is what is sealed.
type document struct {
	Version       int64                    `json:"version"`
	Subscriptions []*posthorn.Subscription `json:"subscriptions"`
}

func newShared(client *redis.Client, sealer Sealer, ttl time.Duration, log *slog.Logger) *shared {
	s := &shared{redis: client, sealer: sealer, ttl: ttl, log: log, offers: make(chan offer, 64)}
	s.life, s.end = context.WithCancel(context.Background())
	s.writer.Go(s.write)
	return s
}

func (s *shared) close() {
	s.end()
	s.writer.Wait()
}

func bind(tenant posthorn.TenantID) string { return "cache/" + tenant.String() }

func (s *shared) key(tenant posthorn.TenantID) string {
	return s.redis.Name("subscriptions:" + tenant.String())
}

// read is the copy in Redis, or nil: when there is none, when Redis is down, or when it cannot be opened.
func (s *shared) read(ctx context.Context, tenant posthorn.TenantID) *Set {
	var sealed []byte
	err := s.redis.Do(ctx, func(ctx context.Context, r rueidis.Client) (err error) {
		sealed, err = r.Do(ctx, r.B().Get().Key(s.key(tenant)).Build()).AsBytes()
		return err
	})
	if err != nil {
		return nil
	}
	plain, err := s.sealer.Open(sealed, bind(tenant))
	if err != nil {
		s.log.Warn("cached subscriptions cannot be opened", "tenant", tenant, "error", err)
		return nil
	}
	var d struct {
		Version       int64                   `json:"version"`
		Subscriptions []posthorn.Subscription `json:"subscriptions"`
	}
	if err := json.Unmarshal(plain, &d); err != nil {
		s.log.Warn("cached subscriptions cannot be read", "tenant", tenant, "error", err)
		return nil
	}
	return newSet(d.Version, d.Subscriptions)
}

// offer has a set written, unless it was lately: a changed one soon, an unchanged one before its copy expires. The caller
// holds e.loading.
func (s *shared) offer(tenant posthorn.TenantID, e *entry, set *Set) {
	pause := s.ttl / 2
	if set.Version != e.copied {
		pause = min(pause, writeShare*time.Duration(set.Len()))
	}
	if now := time.Now(); e.written.IsZero() || now.Sub(e.written) >= pause {
		select {
		case s.offers <- offer{tenant, set}:
			e.written, e.copied = now, set.Version
		default:
		}
	}
}

func (s *shared) write() {
	for {
		select {
		case <-s.life.Done():
			return
		case o := <-s.offers:
			s.put(o)
		}
	}
}

func (s *shared) put(o offer) {
	if _, up := s.redis.Client(); !up {
		return
	}
	d := document{Version: o.set.Version, Subscriptions: make([]*posthorn.Subscription, 0, o.set.Len())}
	for _, sub := range o.set.byID {
		if sub.Unreadable != "" {
			// Another node may have the key that this one lacks, and must not get a copy without secrets.
			return
		}
		d.Subscriptions = append(d.Subscriptions, sub)
	}
	plain, err := json.Marshal(d)
	if err != nil {
		s.log.Error("subscriptions cannot be encoded", "tenant", o.tenant, "error", err)
		return
	}
	if len(plain) > maxShared {
		return
	}
	sealed := s.sealer.Seal(plain, bind(o.tenant))
	err = s.redis.Do(s.life, func(ctx context.Context, r rueidis.Client) error {
		set := r.B().Set().Key(s.key(o.tenant)).Value(rueidis.BinaryString(sealed)).PxMilliseconds(s.ttl.Milliseconds()).Build()
		return r.Do(ctx, set).Error()
	})
	if err != nil {
		s.log.Debug("subscriptions not cached in redis", "tenant", o.tenant, "error", err)
	}
}
