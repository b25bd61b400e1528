//go:build unix

package chaos_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// meter watches what must stay flat.
type meter struct{ points []sample }

type sample struct {
	at                               time.Duration
	memory, files, connections, disk float64
	goroutines                       float64
}

// measure takes one sample of a node, unless it does not answer for the moment.
func (m *meter) measure(w *world, n *node, at time.Duration) {
	files, sockets := filesOf(n.PID())
	s := sample{
		at: at, memory: float64(residentOf(n.PID())), files: float64(files), connections: float64(sockets), goroutines: w.goroutines(),
		disk: w.disk(),
	}
	if s.goroutines > 0 {
		m.points = append(m.points, s)
	}
}

// settled are the samples without those of the first quarter, in which caches fill and the first days pass.
func (m *meter) settled() []sample {
	list := m.points
	for len(list) > 0 && list[0].at < m.points[len(m.points)-1].at/4 {
		list = list[1:]
	}
	return list
}

// trend is the mean of a value over the first and the last fifth of what is settled, and its slope an hour by least squares.
func (m *meter) trend(of func(sample) float64) (first, last, perHour float64) {
	list := m.settled()
	if len(list) < 2 {
		return 0, 0, 0
	}
	var n, sx, sy, sxx, sxy float64
	for _, s := range list {
		x, y := s.at.Hours(), of(s)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	part := max(len(list)/5, 1)
	return mean(list[:part], of), mean(list[len(list)-part:], of), (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func mean(list []sample, of func(sample) float64) (sum float64) {
	for _, s := range list {
		sum += of(s) / float64(len(list))
	}
	return sum
}

// flat are the figures of what must not grow: by no more than a room, and a fourth.
func (m *meter) flat() (list []figure) {
	for _, one := range []struct {
		what       string
		of         func(sample) float64
		unit, room float64
	}{
		{"memory in MiB", func(s sample) float64 { return s.memory }, 1 << 20, 32},
		{"store's size in MiB", func(s sample) float64 { return s.disk }, 1 << 20, 32},
		{"goroutines", func(s sample) float64 { return s.goroutines }, 1, 100},
		{"open files", func(s sample) float64 { return s.files }, 1, 100},
		{"connections", func(s sample) float64 { return s.connections }, 1, 100},
	} {
		first, last, slope := m.trend(one.of)
		list = append(list, figure{
			What: one.what + ": after a quarter, at the end, slope an hour", Goal: "flat", Kept: last <= first*1.25+one.room*one.unit,
			Value: fmt.Sprintf("%.0f, %.0f, %+.1f", first/one.unit, last/one.unit, slope/one.unit),
		})
	}
	return list
}

// goroutines is what the node's own metrics say; 0 where they do not.
func (w *world) goroutines() float64 {
	resp, err := w.producer.client.Get(w.site.url() + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// disk is the size of the store in bytes: of the database, or of the embedded store's files with its log.
func (w *world) disk() (size float64) {
	w.t.Helper()
	if w.store == postgresStore {
		conn, err := pgx.Connect(w.t.Context(), w.settings.DatabaseURL)
		if err != nil {
			w.t.Fatal(err)
		}
		defer conn.Close(w.t.Context())
		if err := conn.QueryRow(w.t.Context(), `SELECT pg_database_size(current_database())::float8`).Scan(&size); err != nil {
			w.t.Fatal(err)
		}
		return size
	}
	_ = filepath.Walk(w.settings.DataDir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			size += float64(info.Size())
		}
		return nil
	})
	return size
}
