package sqlite

import (
	"context"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ride"
)

// rider is a change that shares a commit. It may run twice, the first time in vain, so it starts from the beginning each time.
type rider = ride.Rider[func(*tx) error]

// writeTogether is write for a change of so many rows that may run twice; those that wait to ride along share its commit.
func (s *Store) writeTogether(ctx context.Context, rows int, change func(*tx) error) error {
	if err := s.writer.take(ctx); err != nil {
		return fault(err)
	}
	defer func() { <-s.writer.turn }()
	own := ride.New(change)
	s.drive(ctx, append([]*rider{own}, s.rides.Board()...))
	s.rides.Pass(rows)
	return <-own.Answered()
}

// writeAlong is write for a change that may run twice and for which nobody waits: it shares the next commit of new events,
// or goes by itself when none comes.
func (s *Store) writeAlong(ctx context.Context, change func(*tx) error) error {
	own := ride.New(change)
	if answered, err := s.rides.Join(own); answered {
		return err
	}
	select {
	case err := <-own.Answered():
		return err
	case s.writer.turn <- struct{}{}:
		defer func() { <-s.writer.turn }()
		// Without this one when it was taken along a moment ago.
		s.drive(ctx, s.rides.Board())
		return <-own.Answered()
	case <-s.writer.closed:
		return s.giveUp(own, errClosed)
	case <-ctx.Done():
		return s.giveUp(own, ctx.Err())
	}
}

// giveUp leaves with an error, unless the change is under way: then its end is near.
func (s *Store) giveUp(own *rider, err error) error {
	if s.rides.Leave(own) {
		return fault(err)
	}
	return <-own.Answered()
}

// drive runs changes in one transaction, with the writer's turn taken. When one of them fails each gets its own.
func (s *Store) drive(ctx context.Context, group []*rider) {
	err := s.transact(ctx, func(t *tx) error {
		for _, r := range group {
			if err := r.Write(t); err != nil {
				return err
			}
		}
		return nil
	})
	alone := err != nil && len(group) > 1 && posthorn.KindOf(err) != posthorn.Unavailable
	for _, r := range group {
		if alone {
			err = s.transact(ctx, r.Write)
		}
		r.Answer(err)
	}
}
