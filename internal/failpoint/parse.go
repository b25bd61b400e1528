package failpoint

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// action is what happens at a point.
type action string

const (
	kill   action = "kill"   // SIGKILL to this process
	stop   action = "stop"   // SIGSTOP to this process
	delay  action = "delay"  // delay(200ms)
	fail   action = "error"  // the call fails and is not made
	step   action = "step"   // step(-1h) moves the store's clock, of clock only
	answer action = "answer" // answer(127.0.0.1) is every name's address, of dns only
)

// rule is one armed point.
type rule struct {
	action   action
	duration time.Duration
	address  netip.Addr
	from, to int
	later    time.Duration
}

// Parse reads points: `record.before=kill@37; request.before=delay(2s)@10-20; clock=step(-1h)~5s`, separated by semicolons.
// @n is the n-th time only, @n-m a range and @n- all from then on; without it every time. ~d does it that much later,
// beside what the process goes on doing. The empty text arms nothing and gives nil.
func Parse(text string) (*Points, error) {
	var p *Points
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, what, _ := strings.Cut(part, "=")
		point := Point(strings.TrimSpace(name))
		if !slices.Contains(All, point) {
			return nil, fmt.Errorf("%q is not a fail point; there are %s", name, names())
		}
		r, err := parseRule(point, strings.TrimSpace(what))
		if err != nil {
			return nil, fmt.Errorf("fail point %s: %w", point, err)
		}
		if p == nil {
			p = &Points{rules: map[Point][]*rule{}, hits: map[Point]int{}}
		}
		p.rules[point] = append(p.rules[point], r)
	}
	return p, nil
}

func names() string {
	list := make([]string, len(All))
	for i, p := range All {
		list[i] = string(p)
	}
	return strings.Join(list, ", ")
}

func parseRule(at Point, text string) (*rule, error) {
	r := &rule{from: 1, to: math.MaxInt}
	text, later, ok := strings.Cut(text, "~")
	if ok {
		var err error
		if r.later, err = time.ParseDuration(later); err != nil || r.later <= 0 {
			return nil, fmt.Errorf("~ must be followed by a time like 200ms")
		}
	}
	text, times, ok := strings.Cut(text, "@")
	if ok && !r.parseTimes(times) {
		return nil, fmt.Errorf("@ must be followed by a number like 3, a range like 3-7 or 3-")
	}
	name, argument, _ := strings.Cut(text, "(")
	r.action = action(name)
	argument = strings.TrimSuffix(argument, ")")
	var err error
	switch r.action {
	case kill, stop, fail:
		return r, nil
	case delay, step:
		r.duration, err = time.ParseDuration(argument)
	case answer:
		r.address, err = netip.ParseAddr(argument)
	default:
		return nil, fmt.Errorf("must be kill, stop, error, delay(200ms), step(-1h) or answer(127.0.0.1)")
	}
	if err != nil || r.action == step && at != Clock || r.action == answer && at != DNS {
		return nil, fmt.Errorf("%s does not go here or has a bad value", r.action)
	}
	return r, nil
}

func (r *rule) parseTimes(text string) bool {
	from, to, ranged := strings.Cut(text, "-")
	var err error
	if r.from, err = strconv.Atoi(from); err != nil || r.from < 1 {
		return false
	}
	switch {
	case !ranged:
		r.to = r.from
	case to != "":
		r.to, err = strconv.Atoi(to)
	}
	return err == nil && r.to >= r.from
}
