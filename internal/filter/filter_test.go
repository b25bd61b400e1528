package filter

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

func sample() *posthorn.Event {
	return &posthorn.Event{
		Type: "order.created", Headers: map[string]string{"X-Region": "eu"},
		Payload: []byte(`{"amount":150,"price":9.5,"ok":true,"text":"Zürich","none":null,"id":9007199254740993,
			"tags":["new","vip"],"items":[{"sku":"a","n":2},{"sku":"b","n":1}],"twice":1,"twice":2}`),
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		name, filter string
		want         bool
	}{
		{"Number", "payload.amount > 100", true},
		{"NumberBelow", "payload.amount > 150", false},
		{"WholeEqualsDouble", "payload.amount == 150 && payload.amount == 150.0", true},
		{"Fraction", "payload.price < 10", true},
		{"Arithmetic", "payload.amount + 1.0 > 150", true},
		{"HugeIDExactly", "payload.id == 9007199254740993", true},
		{"HugeIDNearby", "payload.id == 9007199254740992", false},
		{"Boolean", "payload.ok", true},
		{"Text", "payload.text.startsWith('Zü') && payload.text.size() == 6", true},
		{"Regex", "payload.text.matches('^Z.*h$')", true},
		{"Null", "payload.none == null", true},
		{"In", "'vip' in payload.tags && 'amount' in payload", true},
		{"Exists", "payload.items.exists(i, i.sku == 'b' && i.n == 1)", true},
		{"All", "payload.items.all(i, i.n > 1)", false},
		{"Has", "has(payload.absent) && payload.absent == 1", false},
		{"Type", "type == 'order.created' || type.startsWith('invoice.')", true},
		{"HeaderInLowerCase", "headers['x-region'] == 'eu'", true},
		{"NoHeader", "'x-other' in headers", false},
		{"LastOfTwoNames", "payload.twice == 2", true},
		{"Ternary", "payload.amount > 1000 ? payload.ok : type == 'x'", false},
		{"ErrorThatDoesNotMatter", "payload.ok || payload.absent == 1", true},
		{"ManyTerms", strings.Repeat("payload.amount == 1 || ", 80) + "true", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Compile(c.filter)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.Match(Of(sample())); err != nil || got != c.want {
				t.Errorf("%s gave %v, %v; want %v", c.filter, got, err, c.want)
			}
		})
	}
}

func TestCompileSaysWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct{ name, filter, want string }{
		{"EndsEarly", "payload.amount >", "line 1, column 17: the expression ends too early"},
		{"SecondLine", "payload.ok &&\n  )", "line 2, column 3: this cannot stand here"},
		{"Empty", "", "line 1, column 1: the expression ends too early"},
		{"UnknownName", "amount > 1", "line 1, column 1: this name is not known; there are type, headers, payload"},
		{"NotABoolean", "type", "must be true or false, like payload.amount > 100; this is of the type string"},
		{"WrongOperand", "type > 1", "line 1, column 6: found no matching overload for '_>_' applied to '(string, int)'"},
		{"BadRegex", "type.matches('(')", "cannot be evaluated: error parsing regexp"},
		{"NoClock", "timestamp('2026-01-01T00:00:00Z') > 1", "line 1, column 10: this name is not known"},
		{"TooLong", strings.Repeat(" ", posthorn.MaxFilter) + "true", "must be at most 4096 characters"},
		{"TooDeep", strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60), "expression recursion limit exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Compile(c.filter); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestCompileRepeatsNothing: a filter may hold a secret.
func TestCompileRepeatsNothing(t *testing.T) {
	for _, filter := range []string{
		"payload.a == 's3cret", `payload.a == "s3cret`, "'''s3cret", "r's3cret", "payload.a == s3cret", "s3cret(1)", "type.s3cret()",
		"payload.a s3cret", "`s3cret`", "s3cret{a: 1}", "type.matches('(s3cret')", "type.matches('s3cret{9999}')", "int('s3cret') == 1",
		"has(s3cret)", "payload.all('s3cret', true)", "type.s3cret", "{'s3cret': 1", "'s3cret'", "type + 1 == 's3cret'",
	} {
		if _, err := Compile(filter); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", filter, err)
		}
	}
}

func TestMatchFails(t *testing.T) {
	text := func(payload string) *posthorn.Event {
		return &posthorn.Event{Type: "a", Payload: []byte(payload)}
	}
	for _, c := range []struct {
		name, filter string
		event        *posthorn.Event
		want         string
	}{
		{"MissingField", "payload.absent == 1", sample(), "no such key: absent"},
		{"OtherType", "payload.text > 1", sample(), "no such overload"},
		{"NotABoolean", "payload.text", sample(), "must be true or false"},
		{"NotJSON", "payload.a == 1", text("plain"), "the payload is not JSON"},
		{"Empty", "payload.a == 1", text(""), "the payload is not JSON"},
		{"TwoValues", "payload == 1", text("1 2"), "the payload is not JSON"},
		{"TooLarge", "payload == 1", text(strings.Repeat(" ", MaxPayload) + "1"), "larger than the 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Compile(c.filter)
			if err != nil {
				t.Fatal(err)
			}
			if yes, err := f.Match(Of(c.event)); yes || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want %q", yes, err, c.want)
			}
		})
	}
}

// TestCostIsBounded gives filters that would take seconds or for ever the largest payloads.
func TestCostIsBounded(t *testing.T) {
	list := "[" + strings.Repeat(`[1,{"a":2}],`, 25_000) + "0]"
	e := Of(&posthorn.Event{Type: "a", Payload: []byte(`{"x":` + list + `,"y":` + list + `,"s":"` + strings.Repeat("a", 200_000) + `"}`)})
	for _, expression := range []string{
		"payload == payload",
		"payload.x == payload.y",
		"payload.x.exists(i, i == payload.y)",
		"payload.x.exists(i, payload.x in [payload.y])",
		"payload.x.all(i, payload.x.all(j, true))",
		"payload.x.map(i, payload.s + 'a').size() == 2",
		"payload.x.map(i, payload.x).size() == 2",
		"payload.x.exists(i, payload.s.matches('(a*)*b'))",
		strings.Repeat("payload.x == payload.y && ", 100) + "true",
	} {
		f, err := Compile(expression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Match(e); err == nil || !strings.Contains(err.Error(), "cost limit") {
			t.Errorf("%.60s was evaluated: %v", expression, err)
		}
	}
}

// TestPayloadIsReadAtMostOnce looks at what the event has read after each filter.
func TestPayloadIsReadAtMostOnce(t *testing.T) {
	e := Of(sample())
	match := func(expression string) {
		f, err := Compile(expression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Match(e); err != nil {
			t.Fatal(err)
		}
	}
	match("type == 'order.created'")
	if e.payload != nil {
		t.Error("a filter on the type alone read the payload")
	}
	match("payload.ok")
	first := e.payload.(map[string]any)
	first["mark"] = true
	match("payload.mark && payload.ok")
}

func FuzzFilter(f *testing.F) {
	f.Add("payload.a > 1 && headers['b'] == 'c'", `{"a":2}`)
	f.Add("payload.exists(x, x == 1)", `[1,2]`)
	f.Fuzz(func(t *testing.T, expression, payload string) {
		compiled, err := Compile(expression)
		if err != nil {
			return
		}
		e := &posthorn.Event{Type: "a.b", Payload: []byte(payload)}
		first, errFirst := compiled.Match(Of(e))
		again, errAgain := compiled.Match(Of(e))
		if first != again || (errFirst == nil) != (errAgain == nil) {
			t.Errorf("%q on %q gave %v, %v and then %v, %v", expression, payload, first, errFirst, again, errAgain)
		}
	})
}
