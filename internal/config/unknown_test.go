package config

import (
	"slices"
	"strings"
	"testing"
)

func TestUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		want    []string
	}{
		"Known":  {[]string{"POSTHORN_RETENTION=72h", "POSTHORN_URL=http://x", "DATABASE_URL=x", "PATH=/bin", "RETENTION=1h"}, nil},
		"Letter": {[]string{"POSTHORN_RETENSION=96h"}, []string{"POSTHORN_RETENSION is not a setting; did you mean POSTHORN_RETENTION?"}},
		"Sorted": {[]string{"POSTHORN_RETENTION_=96h", "POSTHORN_API_KEYS=phk_secret"}, []string{
			"POSTHORN_API_KEYS is not a setting; did you mean POSTHORN_API_KEY?",
			"POSTHORN_RETENTION_ is not a setting; did you mean POSTHORN_RETENTION?",
		}},
		"NoPrefix": {[]string{"POSTHORN_DATABASE_URL=x", "POSTHORN_PORT=8000"}, []string{
			"POSTHORN_DATABASE_URL is not a setting; did you mean DATABASE_URL?", "POSTHORN_PORT is not a setting; did you mean PORT?",
		}},
		"NothingLikeIt": {[]string{"POSTHORN_COLOUR=red"}, []string{"POSTHORN_COLOUR is not a setting"}},
		"Kubernetes": {[]string{
			"POSTHORN_SERVICE_HOST=10.0.0.1", "POSTHORN_SERVICE_PORT=80", "POSTHORN_SERVICE_PORT_HTTP=80", "POSTHORN_PORT=tcp://10.0.0.1:80",
			"POSTHORN_PORT_80_TCP_ADDR=10.0.0.1", "POSTHORN_API_SERVICE_HOST=10.0.0.2", "POSTHORN_API_PORT=tcp://10.0.0.2:80",
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, u := range unknown(c.environ) {
				got = append(got, u.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for words, want := range map[[2]string]int{
		{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"HOLD", "HOLD"}: 0, {"HOLD", "HOST"}: 2, {"KEYS", "KEY"}: 1, {"kitten", "sitting"}: 3,
	} {
		if got := distance(words[0], words[1]); got != want {
			t.Errorf("from %q to %q it is %d, want %d", words[0], words[1], got, want)
		}
	}
}
