package config

import (
	"fmt"
	"net/url"
	"reflect"
)

// Line is one effective setting, by the name of its variable.
type Line struct{ Name, Value string }

// Effective lists all settings as they are in force, secrets masked.
func (s *Settings) Effective() []Line {
	var lines []Line
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		value := fmt.Sprint(v.Field(i).Interface())
		if v.Field(i).Kind() == reflect.Slice {
			value = joined(v.Field(i).Interface().([]string))
		}
		switch tag.Get("secret") {
		case "all":
			if value != "" {
				value = "[set, not shown]"
			}
		case "url":
			value = maskURL(value)
		}
		lines = append(lines, Line{tag.Get("env"), value})
	}
	return lines
}

func joined(list []string) string {
	text := ""
	for i, item := range list {
		if i > 0 {
			text += ","
		}
		text += item
	}
	return text
}

// maskURL hides the password of a URL, and all of it when it cannot be read: the password may be anywhere in it.
func maskURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "[cannot be read, not shown]"
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
			u.RawQuery = q.Encode()
		}
	}
	return u.Redacted()
}
