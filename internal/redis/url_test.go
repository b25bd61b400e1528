package redis

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/rueidis"
)

func TestParseURL(t *testing.T) {
	for _, test := range []struct {
		url   string
		hosts string
		check func(rueidis.ClientOption) bool
	}{
		{"redis://", "localhost:6379", func(o rueidis.ClientOption) bool { return o.TLSConfig == nil && !o.ForceSingleClient }},
		{"redis://r.example:6380/3", "r.example:6380", func(o rueidis.ClientOption) bool { return o.SelectDB == 3 }},
		{"redis://r.example?db=4", "r.example:6379", func(o rueidis.ClientOption) bool { return o.SelectDB == 4 }},
		{"redis://:p%40ss@r.example", "r.example:6379", func(o rueidis.ClientOption) bool { return o.Username == "" && o.Password == "p@ss" }},
		{"redis://me:secret@r.example", "r.example:6379", func(o rueidis.ClientOption) bool { return o.Username == "me" && o.Password == "secret" }},
		{"redis://[2001:db8::1]:7000", "[2001:db8::1]:7000", nil},
		{"redis://[2001:db8::1]", "[2001:db8::1]:6379", nil},
		{"rediss://r.example", "r.example:6379", func(o rueidis.ClientOption) bool {
			return o.TLSConfig != nil && !o.TLSConfig.InsecureSkipVerify && o.TLSConfig.ServerName == ""
		}},
		{"valkeys://r.example?server_name=cache.internal&skip_verify=true", "r.example:6379", func(o rueidis.ClientOption) bool {
			return o.TLSConfig.InsecureSkipVerify && o.TLSConfig.ServerName == "cache.internal"
		}},
		{"redis://r.example?cluster=false", "r.example:6379", func(o rueidis.ClientOption) bool { return o.ForceSingleClient }},
		{"redis://a:1,b:2,c?cluster=true", "a:1 b:2 c:6379", func(o rueidis.ClientOption) bool { return !o.ForceSingleClient }},
		{"rediss+cluster://u:p@a,b", "a:6379 b:6379", func(o rueidis.ClientOption) bool { return o.TLSConfig != nil && o.Password == "p" }},
		{"redis+sentinel://:p@a,b:1/main/2?sentinel_password=q", "a:26379 b:1", func(o rueidis.ClientOption) bool {
			return o.Sentinel.MasterSet == "main" && o.SelectDB == 2 && o.Password == "p" && o.Sentinel.Password == "q"
		}},
		{"redis://a,b/5?sentinel=main", "a:26379 b:26379", func(o rueidis.ClientOption) bool {
			return o.Sentinel.MasterSet == "main" && o.SelectDB == 5
		}},
		{"unix:///run/redis.sock?db=1", "/run/redis.sock", func(o rueidis.ClientOption) bool { return o.SelectDB == 1 && o.ForceSingleClient }},
	} {
		option, err := ParseURL(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if !slices.Equal(option.InitAddress, strings.Fields(test.hosts)) {
			t.Errorf("%s: hosts %q, want %q", test.url, option.InitAddress, test.hosts)
		}
		if test.check != nil && !test.check(option) {
			t.Errorf("%s: read as %+v", test.url, option)
		}
	}
}

func TestParseURLRefusesWithoutRepeating(t *testing.T) {
	for _, url := range []string{
		"", "localhost:6379", "http://:hunter2@h", "redis+ring://:hunter2@h", "redis://:hunter2@h/x", "redis://:hunter2@h/-1",
		"redis://:hunter2@h:0", "redis://:hunter2@h:port", "redis://:hunter2%zz@h", "redis+sentinel://:hunter2@h",
		"redis://:hunter2@a,b?cluster=false", "redis://:hunter2@h?cluster=hunter2", "unix://:hunter2@", "redis://:hunter2@2001:db8::1",
		"redis://:hunter2@[::1", "redis://:hunter2@h?db=hunter2",
	} {
		_, err := ParseURL(url)
		if err == nil {
			t.Errorf("%s: accepted", url)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats it: %v", url, err)
		}
	}
}
