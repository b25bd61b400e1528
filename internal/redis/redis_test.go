package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/redis"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/redis/rueidis"
	"go.uber.org/goleak"
)

// The library sleeps for up to a second before it asks a Cluster for its topology again, also after Close.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

func set(ctx context.Context, r rueidis.Client) error {
	return r.Do(ctx, r.B().Set().Key("key").Value("value").Build()).Error()
}

func TestDoUsesRedis(t *testing.T) {
	c := redistest.Connect(t, redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix()})
	var got string
	err := c.Do(t.Context(), func(ctx context.Context, r rueidis.Client) (err error) {
		name := c.Name("key")
		if err := r.Do(ctx, r.B().Set().Key(name).Value("value").PxMilliseconds(1000).Build()).Error(); err != nil {
			return err
		}
		got, err = r.Do(ctx, r.B().Get().Key(name).Build()).ToString()
		return err
	})
	if err != nil || got != "value" {
		t.Fatalf("got %q, %v", got, err)
	}
	if state := c.State(); !state.Up || state.Latency <= 0 || state.LastError != "" {
		t.Errorf("state %+v", state)
	}
}

func TestErrorsOfRedisDoNotMeanDown(t *testing.T) {
	c := redistest.Connect(t, redis.Options{URL: redistest.URL(t)})
	err := c.Do(t.Context(), func(ctx context.Context, r rueidis.Client) error {
		return r.Do(ctx, r.B().Arbitrary("NOSUCHCOMMAND").Build()).Error()
	})
	if err == nil || !c.State().Up {
		t.Errorf("error %v, state %+v", err, c.State())
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(cancelled, set); err == nil || !c.State().Up {
		t.Errorf("error %v, state %+v", err, c.State())
	}
}

func TestStartsWithoutRedis(t *testing.T) {
	s := redistest.Start(t)
	s.Stop()
	c, err := redis.New(redis.Options{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(t.Context(), set); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if _, ok := c.Client(); ok {
		t.Error("a client is given")
	}
	redistest.Eventually(t, "the reason is known", func() bool { return c.State().LastError != "" })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("await: %v", err)
	}
	s.Start()
	if _, err := c.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), set); err != nil {
		t.Error(err)
	}
}

func TestComesBackAfterRestart(t *testing.T) {
	s := redistest.Start(t)
	c := redistest.Connect(t, redis.Options{URL: s.URL(), Heartbeat: 20 * time.Millisecond})
	for range 2 {
		s.Stop()
		redistest.Eventually(t, "Redis counts as down", func() bool { return !c.State().Up })
		if state := c.State(); state.LastError == "" {
			t.Errorf("state %+v", state)
		}
		s.Start()
		redistest.Eventually(t, "Redis counts as up", func() bool { return c.State().Up })
		if err := c.Do(t.Context(), set); err != nil {
			t.Error(err)
		}
	}
}

func TestHangingRedisStallsNobody(t *testing.T) {
	s := redistest.Start(t)
	c := redistest.Connect(t, redis.Options{URL: s.URL(), Timeout: 100 * time.Millisecond, Heartbeat: time.Hour})
	s.Freeze()
	start := time.Now()
	if err := c.Do(t.Context(), set); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("first use: %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the first use took %s", took)
	}
	start = time.Now()
	for range 1000 {
		if err := c.Do(t.Context(), set); !errors.Is(err, redis.ErrUnavailable) {
			t.Fatalf("later use: %v", err)
		}
	}
	if took := time.Since(start); took > 50*time.Millisecond {
		t.Errorf("1,000 uses of a hanging Redis took %s", took)
	}
	s.Thaw()
	if _, err := c.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), set); err != nil {
		t.Error(err)
	}
}

func TestHeartbeatNoticesHanging(t *testing.T) {
	s := redistest.Start(t)
	c := redistest.Connect(t, redis.Options{URL: s.URL(), Timeout: 50 * time.Millisecond, Heartbeat: 10 * time.Millisecond})
	s.Freeze()
	redistest.Eventually(t, "a hanging Redis counts as down", func() bool { return !c.State().Up })
	redistest.Eventually(t, "the reason is known", func() bool { return strings.Contains(c.State().LastError, "no answer within") })
	start := time.Now()
	c.Close() // ends although Redis hangs
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %s", took)
	}
	s.Thaw()
}

func TestCloseEndsEverything(t *testing.T) {
	c, err := redis.New(redis.Options{URL: redistest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	if _, err := c.Await(t.Context()); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("await: %v", err)
	}
	if err := c.Do(t.Context(), set); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("do: %v", err)
	}
}

func TestWrongPasswordIsNotShown(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "right-horse")
	c, err := redis.New(redis.Options{URL: "redis://:wrong-horse@" + s.Address()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	redistest.Eventually(t, "the reason is known", func() bool { return c.State().LastError != "" })
	if text := c.State().LastError; !strings.Contains(text, "WRONGPASS") || strings.Contains(text, "horse") {
		t.Errorf("last error %q", text)
	}
	redistest.Connect(t, redis.Options{URL: "redis://:right-horse@" + s.Address() + "/2"})
}

func TestServers(t *testing.T) {
	for name, arguments := range map[string][]string{
		"WithoutRESP3": {"--rename-command", "HELLO", ""},
		"Cluster":      {"--cluster-enabled", "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, arguments...)
			c := redistest.Connect(t, redis.Options{URL: s.URL()})
			got := make(chan string, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			subscribed := make(chan struct{})
			go func() {
				r, _ := c.Client()
				ctx := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { close(subscribed) })
				r.Receive(ctx, r.B().Subscribe().Channel("c").Build(), func(m rueidis.PubSubMessage) { got <- m.Message })
			}()
			<-subscribed
			err := c.Do(t.Context(), func(ctx context.Context, r rueidis.Client) error {
				return r.Do(ctx, r.B().Publish().Channel("c").Message("hello").Build()).Error()
			})
			if err != nil {
				t.Fatal(err)
			}
			if m := <-got; m != "hello" {
				t.Errorf("got %q", m)
			}
		})
	}
}

func TestSentinel(t *testing.T) {
	primary := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, "main", primary)
	c := redistest.Connect(t, redis.Options{URL: "redis+sentinel://" + sentinel.Address() + "/main"})
	if err := c.Do(t.Context(), set); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	address := terminateTLS(t, redistest.Start(t).Address())
	redistest.Connect(t, redis.Options{URL: "rediss://" + address + "?skip_verify=true"})
	c, err := redis.New(redis.Options{URL: "rediss://" + address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	redistest.Eventually(t, "an unknown certificate is refused", func() bool {
		return strings.Contains(c.State().LastError, "certificate")
	})
}

// terminateTLS speaks TLS with a certificate that nobody trusts, in front of a server that does not.
func terminateTLS(t *testing.T, address string) string {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				client.Close()
				continue
			}
			go func() { io.Copy(server, client); server.Close() }()
			go func() { io.Copy(client, server); client.Close() }()
		}
	}()
	return listener.Addr().String()
}
