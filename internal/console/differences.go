package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/posthorn/posthorn"
)

// differences say in words which fields two values that are written as JSON objects differ in, those named apart.
func differences(is, want any, apart ...string) []string {
	var changes []string
	before, after := fieldsOf(is), fieldsOf(want)
	for _, name := range slices.Sorted(maps.Keys(merged(before, after))) {
		if !slices.Contains(apart, name) && before[name] != after[name] {
			changes = append(changes, fmt.Sprintf("%s: %s → %s", name, orNone(before[name]), orNone(after[name])))
		}
	}
	return changes
}

// fieldsOf are a value's fields as JSON.
func fieldsOf(v any) map[string]string {
	texts := map[string]string{}
	for name, value := range recast[map[string]json.RawMessage](v) {
		texts[name] = string(value)
	}
	return texts
}

// recast gives what is written as JSON another type; what does not fit it is the zero value, as the server will say better.
func recast[T any](v any) T {
	var to T
	if encoded, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(encoded, &to)
	}
	return to
}

// headerChanges compares names: values come back masked.
func headerChanges(is, want map[string]string) []string {
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(merged(is, want))) {
		_, had := is[name]
		value, wanted := want[name]
		switch {
		case !wanted:
			changes = append(changes, "headers."+name+": removed")
		case !had:
			changes = append(changes, "headers."+name+": added")
		case value != posthorn.Mask:
			changes = append(changes, rewritten("headers."+name))
		}
	}
	return changes
}

func rewritten(field string) string {
	return field + ": written again, as its value cannot be compared"
}

// secretParts are the fields of an authentication and of TLS settings that the API shows masked.
var secretParts = []string{"token", "password", "value", "client_secret", "key"}

// masked is an authentication or TLS settings as the API shows them, and the fields whose values that hides.
func masked(field string, settings map[string]any) (shown map[string]any, hidden []string) {
	shown = maps.Clone(settings)
	hide := func(name string, in map[string]any, key string) {
		if value, ok := in[key]; ok && value != posthorn.Mask && value != "" {
			in[key], hidden = posthorn.Mask, append(hidden, name)
		}
	}
	for _, key := range secretParts {
		hide(field+"."+key, shown, key)
	}
	if params, ok := shown["params"].(map[string]any); ok {
		params = maps.Clone(params)
		for _, key := range slices.Sorted(maps.Keys(params)) {
			hide(field+".params."+key, params, key)
		}
		shown["params"] = params
	}
	return shown, hidden
}

func merged[T any](a, b map[string]T) map[string]T {
	all := make(map[string]T, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
