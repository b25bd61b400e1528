package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Line is one effective setting, by the name of its variable. Changed says that its value is not the default.
type Line struct {
	Name, Value, Help string
	Changed           bool
}

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
		changed := !v.Field(i).IsZero()
		if byDefault, ok := tag.Lookup("default"); ok {
			changed = value != byDefault
			if d, err := time.ParseDuration(byDefault); err == nil && v.Field(i).Type() == reflect.TypeFor[time.Duration]() {
				changed = value != d.String()
			}
		}
		switch tag.Get("secret") {
		case "all":
			if value != "" {
				value = "[set, not shown]"
			}
		case "url":
			value = maskURL(value)
		}
		lines = append(lines, Line{
			Name: tag.Get("env"), Value: value, Changed: changed,
			Help: strings.ReplaceAll(tag.Get("help"), "${enum}", strings.ReplaceAll(tag.Get("enum"), ",", ", ")),
		})
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
