package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Question is one thing asked of the API over many stored rows, with how long the answers took.
type Question struct {
	Path    string      `json:"path"`
	Latency Percentiles `json:"ms"`
}

// questionsEach is how often each question is asked.
const questionsEach = 200

// ask asks the API's lists and lookups in turn.
func ask(ctx context.Context, c *client) ([]Question, error) {
	event, err := firstOf(ctx, c, "/events?limit=1")
	if err != nil {
		return nil, err
	}
	delivery, err := firstOf(ctx, c, "/deliveries?limit=1")
	if err != nil {
		return nil, err
	}
	named := strings.NewReplacer("{event}", event, "{delivery}", delivery, "{subscription}", c.subscriptions[0])
	var answers []Question
	for _, question := range []string{
		"/events", "/events?status=failed", "/events/{event}", "/events/{event}/status",
		"/deliveries", "/deliveries?status=exhausted", "/deliveries?subscription_id={subscription}",
		"/deliveries/{delivery}", "/deliveries/{delivery}/attempts", "/queue", "/stats",
	} {
		q, path := Question{Path: question}, named.Replace(question)
		var took []time.Duration
		for range questionsEach {
			start := time.Now()
			status, answer, err := c.do(ctx, http.MethodGet, path, nil)
			if err != nil {
				return nil, err
			}
			if status != http.StatusOK {
				return nil, fmt.Errorf("GET %s: %d %.200s", path, status, answer)
			}
			took = append(took, time.Since(start))
		}
		q.Latency = percentiles(took)
		answers = append(answers, q)
	}
	return answers, nil
}

// firstOf is the id of the first of a list.
func firstOf(ctx context.Context, c *client, path string) (string, error) {
	status, answer, err := c.do(ctx, http.MethodGet, path, nil)
	var list struct{ Data []struct{ ID string } }
	if err == nil {
		err = json.Unmarshal(answer, &list)
	}
	if err != nil {
		return "", fmt.Errorf("GET %s: %d: %w", path, status, err)
	}
	if len(list.Data) == 0 {
		return "", fmt.Errorf("GET %s: %d, nothing listed", path, status)
	}
	return list.Data[0].ID, nil
}

// askAndRestart asks the server over what it has stored, and starts it again.
func (s *side) askAndRestart(ctx context.Context, o Options, r *Result) (err error) {
	if r.Questions, err = ask(ctx, s.client); err != nil || s.server.cmd == nil {
		return err
	}
	// The server that starts again is another address, and what stays subscribed to a receiver that is gone costs each later
	// run over the same store a second delivery of each event.
	s.client.unsubscribe(ctx)
	took, err := s.server.restart(ctx, o)
	r.ReadyMS = float64(took.Microseconds()) / 1000
	return err
}
