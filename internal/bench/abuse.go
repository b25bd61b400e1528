package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The attack of the scenario abuse: clients that send one byte of a request a second, and bodies of 100 MB in chunks, whose
// end no honest server waits for.
const (
	slowClients, hugeClients = 1000, 4
	hugeBody, hugeChunk      = 100 << 20, 64 << 10
	// abuseRounds alternate without and with the attack, so that a machine that gets slower counts against both.
	abuseRounds = 3
)

// Abuse is what an attack by strangers does to normal requests, and to the server's memory.
type Abuse struct {
	Quiet    Percentiles `json:"quiet_ms"`
	Attacked Percentiles `json:"attacked_ms"`
	// Refused are normal requests, of both kinds of round, that were not accepted.
	Refused int `json:"refused"`
	// GrewMB is the most that the resident memory grew in an attacked round, from before its first connection.
	GrewMB float64 `json:"grew_mb"`
	// HugeBytes is how much of HugeBodies could be sent before the server ended each.
	HugeBodies int   `json:"huge_bodies"`
	HugeBytes  int64 `json:"huge_bytes"`
}

// abuse measures rounds of the same load, every second one under attack.
func abuse(ctx context.Context, o Options, s Scenario, c *client, server process) (*Abuse, error) {
	var result Abuse
	var quiet, attacked []time.Duration
	each := s.duration(&o) / 2
	for range abuseRounds {
		load, err := publish(ctx, o, s, c, each)
		if err != nil {
			return nil, err
		}
		quiet = append(quiet, load.latencies...)
		refused := load.refused
		before, peak := costOf(server.pid).resident, watchResident(server)
		attack, err := startAttack(ctx, c)
		if err != nil {
			peak()
			return nil, err
		}
		load, err = publish(ctx, o, s, c, each)
		result.GrewMB = max(result.GrewMB, float64(peak()-before)/(1<<20))
		bodies, sent := attack.stop()
		result.HugeBodies, result.HugeBytes = result.HugeBodies+bodies, result.HugeBytes+sent
		if err != nil {
			return nil, err
		}
		attacked = append(attacked, load.latencies...)
		result.Refused += refused + load.refused
	}
	result.Quiet, result.Attacked = percentiles(quiet), percentiles(attacked)
	return &result, nil
}

// watchResident samples a process's memory until the returned function is called, which gives the most it was.
func watchResident(p process) (peak func() int64) {
	end, most := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var seen int64
		for {
			seen = max(seen, costOf(p.pid).resident)
			select {
			case <-tick.C:
			case <-end:
				most <- seen
				return
			}
		}
	}()
	return func() int64 { close(end); return <-most }
}

// attack is under way until it is stopped.
type attack struct {
	address, key string
	end          context.CancelFunc
	all          sync.WaitGroup

	mu     sync.Mutex
	bodies int
	bytes  int64
}

// startAttack connects the slow clients and begins the huge bodies.
func startAttack(ctx context.Context, c *client) (*attack, error) {
	at, err := url.Parse(c.url)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	a := &attack{address: at.Host, key: c.key, end: end}
	for i := range slowClients {
		conn, err := net.Dial("tcp", a.address)
		if err != nil {
			end()
			a.all.Wait()
			return nil, fmt.Errorf("slow client %d: %w", i, err)
		}
		a.all.Go(func() { a.crawl(ctx, conn, i%2 == 0) })
	}
	for range hugeClients {
		a.all.Go(func() {
			for ctx.Err() == nil {
				a.flood(ctx)
			}
		})
	}
	return a, nil
}

func (a *attack) stop() (bodies int, sent int64) {
	a.end()
	a.all.Wait()
	return a.bodies, a.bytes
}

func (a *attack) head(rest string) string {
	return "POST /events HTTP/1.1\r\nHost: " + a.address + "\r\nAuthorization: Bearer " + a.key + "\r\nContent-Type: application/json\r\n" + rest
}

// crawl sends a byte a second: of the header, or, after a whole header, of the body.
func (a *attack) crawl(ctx context.Context, conn net.Conn, inBody bool) {
	defer conn.Close()
	text := a.head("")
	if inBody {
		if _, err := io.WriteString(conn, a.head("Content-Length: 200000\r\n\r\n")); err != nil {
			return
		}
		text = strings.Repeat(" ", 200_000)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range len(text) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// The server may have had enough of it, as it should.
		if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
			return
		}
	}
}

// flood sends one body of 100 MB in chunks, as far as it is taken.
func (a *attack) flood(ctx context.Context) {
	conn, err := net.Dial("tcp", a.address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	sent := 0
	if _, err := io.WriteString(conn, a.head("Transfer-Encoding: chunked\r\n\r\n")); err == nil {
		chunk := slices.Concat(fmt.Appendf(nil, "%x\r\n", hugeChunk), []byte(strings.Repeat("[", hugeChunk)+"\r\n"))
		for sent < hugeBody {
			n, err := conn.Write(chunk)
			sent += n
			if err != nil {
				break
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bodies, a.bytes = a.bodies+1, a.bytes+int64(sent)
}

func (a *Abuse) print(w io.Writer) {
	fmt.Fprintf(w, "  quiet      p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms\n", a.Quiet.P50, a.Quiet.P95, a.Quiet.P99, a.Quiet.Max)
	fmt.Fprintf(w, "  attacked   p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms; ratio of p99 %.2f (at most 2)\n",
		a.Attacked.P50, a.Attacked.P95, a.Attacked.P99, a.Attacked.Max, ratio(a.Attacked.P99, a.Quiet.P99))
	fmt.Fprintf(w, "  refused %d normal requests; memory grew by %.0f MB (at most 64); %d bodies of 100 MB were cut off after %.2f MB each\n",
		a.Refused, a.GrewMB, a.HugeBodies, ratio(float64(a.HugeBytes)/(1<<20), float64(a.HugeBodies)))
}
