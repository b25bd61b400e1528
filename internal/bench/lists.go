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
			if err != nil || status != http.StatusOK {
				return nil, fmt.Errorf("GET %s: %d %.200s %w", path, status, answer, err)
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
	if err != nil || len(list.Data) == 0 {
		return "", fmt.Errorf("GET %s: %d, nothing listed: %w", path, status, err)
	}
	return list.Data[0].ID, nil
}

// store publishes so many events and waits until they have been delivered.
func store(ctx context.Context, s *side, stored int) error {
	for sent := 0; sent < stored; sent += 500 {
		if err := s.client.publishBatch(ctx, s.scenario.eventType(0), 500, 200); err != nil {
			return err
		}
	}
	s.receiver.await(ctx, stored, time.Minute)
	s.receiver.forget()
	return nil
}
