// Package console is what a developer does with Posthorn at a terminal: look, publish, follow, forward to a laptop, and keep
// event types, sources and subscriptions in a file. It owns what is printed, the tap's secret and its patience, and the comparison of a file with
// the server. Requests and the live stream are internal/client's; flags are the commands'.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/posthorn/posthorn/internal/client"
)

// Options of a Console. Client and Out are required.
type Options struct {
	Client *client.Client
	// Out gets what was asked for, Notes what is said about it; Notes is Out by default.
	Out, Notes io.Writer
	// JSON prints the API's own answers instead of tables.
	JSON bool
}

// Console prints to one terminal.
type Console struct {
	client     *client.Client
	out, notes io.Writer
	json       bool
}

// New makes a Console.
func New(o Options) *Console {
	if o.Notes == nil {
		o.Notes = o.Out
	}
	return &Console{client: o.Client, out: o.Out, notes: o.Notes, json: o.JSON}
}

// note says something about the output, beside it.
func (c *Console) note(format string, args ...any) { fmt.Fprintf(c.notes, format+"\n", args...) }

// asJSON prints a value as the API writes it.
func (c *Console) asJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// asLine prints a value on a line of its own, for programs that read line by line.
func (c *Console) asLine(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns below a head.
func (c *Console) table(head string, rows [][]string) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " ", "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = plain(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// fields prints names and values below each other; empty values are left out.
func (c *Console) fields(pairs ...string) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pairs[i], plain(pairs[i+1]))
		}
	}
	return w.Flush()
}

// plain keeps what others wrote (payloads, error texts) from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, s)
}

// body is a payload to print: its lines and tabs stay.
func body(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, string(b))
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func whenever(t *time.Time) string {
	if t == nil {
		return ""
	}
	return when(*t)
}

// show is a value that may be absent.
func show[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}

// answer is an outcome with the status that came, if any.
func answer[O ~string](outcome *O, status *int) string {
	text := show(outcome)
	if status != nil {
		text += fmt.Sprintf(" %d", *status)
	}
	return text
}
