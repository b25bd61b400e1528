package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/redis/rueidis"
)

const (
	// maxMessage bounds the things one message says: about 64 KiB of updates.
	maxMessage = 128
	// maxIncoming bounds the messages that wait to be read.
	maxIncoming = 256
	// sendTogether bounds the messages of one round trip.
	sendTogether = 32
	// resubscribe is the wait before subscribing again while Redis is up.
	resubscribe = 100 * time.Millisecond
)

// message is what travels through Redis, as JSON. Unknown fields are ignored, so that versions can meet.
type message struct {
	// Origin is the sending bus, and the first field.
	Origin string `json:"origin"`
	// Watching says whether somebody watches in the process of origin; absent, it says nothing about it.
	Watching *bool `json:"watching,omitempty"`
	// Lost says that the origin could not send everything.
	Lost   bool             `json:"lost,omitempty"`
	Signal *posthorn.Signal `json:"signal,omitempty"`
}

// channel is where all processes of one installation meet.
func (b *Bus) channel() string { return b.redis.Name("bus") }

// send publishes what is put into outgoing, and hints while somebody watches here. When Redis was down, what waited is
// dropped rather than sent late, and the others are told.
func (b *Bus) send() {
	hints := time.NewTicker(hintEvery)
	defer hints.Stop()
	watched := false
	for {
		due := false
		select {
		case <-b.life.Done():
			return
		case <-b.outgoing.ready:
		case <-hints.C:
			due = true
		}
		var messages []message
		watching := b.watchers.Load() > 0
		if watching != watched || watching && due {
			messages = append(messages, message{Watching: &watching})
		}
		for _, l := range b.outgoing.take() {
			messages = appendLetter(messages, l)
		}
		if err := b.publish(messages); err == nil {
			watched = watching
			continue
		}
		if _, err := b.redis.Await(b.life); err != nil {
			return
		}
		b.outgoing.take()
		b.outgoing.lose()
	}
}

// appendLetter turns a letter into messages of bounded length; what fits joins the last message.
func appendLetter(messages []message, l letter) []message {
	if l.lost {
		return append(messages, message{Lost: true})
	}
	s := l.signal
	if n := len(messages); n > 0 && join(messages[n-1].Signal, &s) {
		return messages
	}
	if weigh(&s) <= maxMessage {
		return append(messages, message{Signal: &s})
	}
	changed, lanes, updates := s.Changed, s.Lanes, s.Updates
	s.Changed, s.Lanes, s.Updates = nil, nil, nil
	if weigh(&s) > 0 {
		messages = append(messages, message{Signal: &s})
	}
	for part := range slices.Chunk(changed, maxMessage) {
		messages = append(messages, message{Signal: &posthorn.Signal{From: s.From, Changed: part}})
	}
	for part := range slices.Chunk(lanes, maxMessage) {
		messages = append(messages, message{Signal: &posthorn.Signal{From: s.From, Lanes: part}})
	}
	for part := range slices.Chunk(updates, maxMessage) {
		messages = append(messages, message{Signal: &posthorn.Signal{From: s.From, Updates: part}})
	}
	return messages
}

// join adds s to a signal that waits to be sent, where one message can say both. The slices are copied: they are shared
// with the publisher and the followers.
func join(to, s *posthorn.Signal) bool {
	if to == nil || to.From != s.From || !to.Drain.IsZero() || !s.Drain.IsZero() || weigh(to)+weigh(s) > maxMessage {
		return false
	}
	if to.Reread.IsZero() {
		to.Reread = s.Reread
	} else if !s.Reread.IsZero() && s.Reread != to.Reread {
		return false
	}
	to.Wake = to.Wake || s.Wake
	to.Replays = to.Replays || s.Replays
	to.Recall = to.Recall || s.Recall
	to.Keys = to.Keys || s.Keys
	to.Changed = slices.Concat(to.Changed, s.Changed)
	to.Lanes = slices.Concat(to.Lanes, s.Lanes)
	to.Updates = slices.Concat(to.Updates, s.Updates)
	return true
}

// publish sends messages in order, a bounded number in each round trip.
func (b *Bus) publish(messages []message) error {
	for part := range slices.Chunk(messages, sendTogether) {
		texts := make([]string, 0, len(part))
		for _, m := range part {
			m.Origin = b.origin
			text, err := json.Marshal(m)
			if err != nil {
				b.log.Error("a signal cannot be encoded", "error", err)
				continue
			}
			texts = append(texts, string(text))
		}
		err := b.redis.Do(b.life, func(ctx context.Context, r rueidis.Client) error {
			commands := make(rueidis.Commands, len(texts))
			for i, text := range texts {
				commands[i] = r.B().Publish().Channel(b.channel()).Message(text).Build()
			}
			for _, answer := range r.DoMulti(ctx, commands...) {
				if err := answer.Error(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("publish signals: %w", err)
		}
	}
	return nil
}

// listen stays subscribed whenever Redis is up. Each time the subscription begins, signals may have been missed.
func (b *Bus) listen() {
	begun := rueidis.WithOnSubscriptionHook(b.life, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			b.deliverLoss()
		}
	})
	for {
		r, err := b.redis.Await(b.life)
		if err != nil {
			return
		}
		err = r.Receive(begun, r.B().Subscribe().Channel(b.channel()).Build(), b.receive)
		if b.life.Err() != nil {
			return
		}
		b.log.Debug("subscription to signals ended", "error", err)
		select {
		case <-time.After(resubscribe):
		case <-b.life.Done():
			return
		}
	}
}

// receive takes a message from the connection, which must not wait for it to be read. Our own were delivered when they
// were published.
func (b *Bus) receive(m rueidis.PubSubMessage) {
	if strings.HasPrefix(m.Message, `{"origin":"`+b.origin+`"`) {
		return
	}
	select {
	case b.incoming <- m.Message:
	default:
		b.deliverLoss()
	}
}

// read delivers what the other processes say.
func (b *Bus) read() {
	for {
		var m message
		select {
		case <-b.life.Done():
			return
		case text := <-b.incoming:
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				b.log.Debug("a message on the bus cannot be read", "error", err)
				continue
			}
		}
		if m.Watching != nil {
			b.others.hint(m.Origin, *m.Watching)
		}
		if m.Lost {
			b.deliverLoss()
		}
		if m.Signal != nil {
			b.deliver(*m.Signal)
		}
	}
}
