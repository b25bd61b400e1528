package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"
)

const (
	// probeTimeout bounds connecting, and a ping while Redis is down: longer than a use, since nobody waits for it and a
	// far server needs several round trips to connect.
	probeTimeout = time.Second
	// minPause and maxPause bound the wait between two tries, which doubles. It starts anew only after Redis was up for
	// steady: where pings succeed and uses do not, at most one use a maxPause waits for its timeout.
	minPause = 50 * time.Millisecond
	maxPause = time.Second
	steady   = 10 * time.Second
)

// keep connects, watches over the connection and connects again, until the end.
func (c *Client) keep() {
	defer close(c.ended)
	pause := minPause
	for c.life.Err() == nil {
		if err := c.probe(); err != nil {
			c.note(err)
		} else {
			up := time.Now()
			c.rise()
			c.watch()
			if time.Since(up) > steady {
				pause = minPause
			}
		}
		wait(c.life, pause/2+rand.N(pause))
		pause = min(2*pause, maxPause)
	}
	c.shut()
}

// probe makes the connection where there is none, and pings. After a failed ping all sockets are dropped: it frees
// whatever still waits on them, and the next try dials anew.
func (c *Client) probe() error {
	if c.conn == nil {
		conn, err := rueidis.NewClient(c.option)
		if err != nil {
			if conn != nil {
				conn.Close()
			}
			return fmt.Errorf("connect: %w", err)
		}
		c.mu.Lock()
		c.conn = conn
		c.mu.Unlock()
	}
	if err := c.ping(probeTimeout); err != nil {
		c.sockets.drop()
		return err
	}
	return nil
}

func (c *Client) ping(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.life, timeout)
	defer cancel()
	start := time.Now()
	if err := c.conn.Do(ctx, c.conn.B().Ping().Build()).Error(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", timeout)
		}
		return fmt.Errorf("ping: %w", err)
	}
	c.mu.Lock()
	c.state.Latency = time.Since(start)
	c.mu.Unlock()
	return nil
}

// watch pings until Redis is down, and returns when it is.
func (c *Client) watch() {
	heartbeat := time.NewTicker(c.heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-c.faults:
			if !c.State().Up {
				return
			}
		case <-heartbeat.C:
			if err := c.ping(c.timeout); err != nil && c.life.Err() == nil {
				c.fail(c.term, err)
			}
		}
	}
}

// rise marks Redis up, and wakes whoever waits for that.
func (c *Client) rise() {
	c.mu.Lock()
	c.state.Up, c.state.Since = true, time.Now()
	c.term++
	close(c.risen)
	latency := c.state.Latency
	c.mu.Unlock()
	c.log.Info("redis is up", "latency", latency)
}

// fail marks Redis down, unless it came up again since the failing use began, and wakes the keeper.
func (c *Client) fail(term uint64, err error) {
	c.mu.Lock()
	ended := c.state.Up && c.term == term
	if ended {
		c.state.Up, c.state.Since = false, time.Now()
		c.state.LastError, c.state.LastErrorAt = c.redact(err), c.state.Since
		c.risen = make(chan struct{})
	}
	c.mu.Unlock()
	if !ended {
		return
	}
	c.log.Warn("redis is down", "error", c.redact(err))
	select {
	case c.faults <- struct{}{}:
	default:
	}
}

// note keeps why Redis does not come up, and logs each reason once.
func (c *Client) note(err error) {
	if c.life.Err() != nil {
		return
	}
	text := c.redact(err)
	c.mu.Lock()
	known := c.state.LastError == text
	c.state.LastError, c.state.LastErrorAt = text, time.Now()
	c.mu.Unlock()
	if !known {
		c.log.Warn("redis cannot be reached", "error", text)
	}
}

// shut ends the connection. The sockets go first: closing would otherwise wait for answers of a server that hangs.
func (c *Client) shut() {
	c.mu.Lock()
	if !c.state.Up {
		close(c.risen)
	}
	c.state.Up, c.state.Since = false, time.Now()
	conn := c.conn
	c.mu.Unlock()
	c.sockets.drop()
	if conn != nil {
		conn.Close()
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
