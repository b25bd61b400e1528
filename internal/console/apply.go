package console

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// Apply says how a file is applied.
type Apply struct {
	// Text is the file, in YAML or JSON; Lookup finds the variables it names.
	Text   []byte
	Lookup func(string) (string, bool)
	// DryRun only says what would be done. Prune deletes what a list of the file lacks: event types and sources whoever made
	// them, and subscriptions that a file made. A list that is not in the file at all is left alone.
	DryRun, Prune bool
}

// step is one thing of the file, or one that a list of the file lacks.
type step struct {
	// noun and name say what it is; id is the server's, empty for what is not there yet.
	noun, name, id string
	// changes say in words what a write would change; none in what is there is nothing to do.
	changes []string
	// carryOut makes the change; of a creation it sets id, and detail, which is shown beside.
	carryOut func(context.Context, *step) error
	detail   string
}

func (s *step) idle() bool { return s.id != "" && len(s.changes) == 0 }

// plan is what makes the server what the file says: writes in the order of their need, and deletions of what it lacks.
type plan struct{ writes, deletions []step }

// Apply makes the tenant's event types, sources and subscriptions what a file says, one after the other, and prints each
// change. Applying the same file again changes nothing, except that values which cannot be read back are written again.
func (c *Console) Apply(ctx context.Context, a Apply) error {
	f, err := readFile(a.Text, a.Lookup)
	if err != nil {
		return err
	}
	var p plan
	for _, add := range []func(context.Context, *file, *plan) error{c.planEventTypes, c.planSources, c.planSubscriptions} {
		if err := add(ctx, f, &p); err != nil {
			return err
		}
	}
	done := 0
	change := func(sign string, s *step) error {
		if !a.DryRun {
			if err := s.carryOut(ctx, s); err != nil {
				return fmt.Errorf("%s %s (%s made before): %w", s.noun, s.name, count(done, "change"), explainMask(err))
			}
		}
		done++
		c.printStep(sign, s)
		return nil
	}
	for i := range p.writes {
		s, sign := &p.writes[i], "~"
		if s.idle() {
			continue
		}
		if s.id == "" {
			sign = "+"
		}
		if err := change(sign, s); err != nil {
			return err
		}
	}
	for i := range p.deletions {
		s := &p.deletions[i]
		if !a.Prune {
			c.note("not in the file: %s %s (--prune deletes it)", s.noun, plain(s.titled()))
			continue
		}
		if err := change("-", s); err != nil {
			return err
		}
	}
	was := ""
	if a.DryRun {
		was = " to make; this was a dry run and nothing was changed"
	}
	c.note("%s%s", count(done, "change"), was)
	return nil
}

// explainMask says what to do where a mask stands for nothing.
func explainMask(err error) error {
	if p, ok := errors.AsType[*client.Problem](err); ok && strings.Contains(p.Error(), posthorn.NothingMasked) {
		return fmt.Errorf("%w\n  give values, or ${VARIABLES}, where the file has %s", err, posthorn.Mask)
	}
	return err
}

// titled is the name, and the id where that says more.
func (s *step) titled() string {
	if s.id == "" || s.id == s.name {
		return s.name
	}
	return s.name + "  " + s.id
}

func (c *Console) printStep(sign string, s *step) {
	line := sign + " " + s.noun + " " + s.titled()
	if s.detail != "" {
		line += "  " + s.detail
	}
	fmt.Fprintln(c.out, plain(line))
	for _, change := range s.changes {
		fmt.Fprintf(c.out, "    %s\n", plain(change))
	}
}
