package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// ParseURL reads where Redis is. Hosts may be several, separated by commas; ports default to 6379, for Sentinel to 26379.
//
//	redis://[[user]:password@]host[:port][/db]          one server, or any node of a Cluster
//	redis+cluster://[[user]:password@]host[:port],host  a Cluster; also redis://…?cluster=true
//	redis+sentinel://[…@]host[:port],host/primary[/db]  Sentinels that watch a primary of that name; also redis://…?sentinel=primary
//	unix:///path/to/socket[?db=2]                       a local socket
//
// `rediss` instead of `redis` speaks TLS, also with the suffixes; `valkey` and `valkeys` are the same. Parameters:
// db; cluster=false keeps to the one server named even where it belongs to a Cluster; sentinel_username and
// sentinel_password for the Sentinels; server_name for the name in the certificate, where it is not the host's;
// skip_verify=true to accept any certificate. An error names the part that is wrong and never repeats the URL.
func ParseURL(text string) (rueidis.ClientOption, error) {
	option, err := parseURL(text)
	if err != nil {
		return rueidis.ClientOption{}, fmt.Errorf("redis URL: %w", err)
	}
	return option, nil
}

func parseURL(text string) (option rueidis.ClientOption, err error) {
	u, hosts, err := splitURL(text)
	if err != nil {
		return option, err
	}
	query := u.Query()
	option.Username = u.User.Username()
	option.Password, _ = u.User.Password()
	if u.Scheme == "unix" {
		option.InitAddress = []string{u.Path}
		option.ForceSingleClient = true
		option.SelectDB, err = number(query.Get("db"))
		if !strings.HasPrefix(u.Path, "/") {
			err = errors.New("a unix URL needs an absolute path")
		}
		return option, err
	}
	base, mode, _ := strings.Cut(u.Scheme, "+")
	if base == "rediss" || base == "valkeys" {
		option.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, ServerName: query.Get("server_name"), InsecureSkipVerify: query.Get("skip_verify") == "true",
		}
	}
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	primary := query.Get("sentinel")
	if mode == "sentinel" && primary == "" {
		primary, path = path[0], path[1:]
	}
	if err := setMode(&option, mode, primary, query); err != nil {
		return option, err
	}
	if option.SelectDB, err = number(query.Get("db")); err == nil && len(path) > 0 && path[0] != "" {
		option.SelectDB, err = number(strings.Join(path, "/"))
	}
	if err != nil {
		return option, err
	}
	option.InitAddress, err = addresses(hosts, option.Sentinel.MasterSet != "")
	if len(option.InitAddress) > 1 && option.ForceSingleClient {
		err = errors.New("several hosts are a Cluster or Sentinels, not one server")
	}
	return option, err
}

// setMode says whether the hosts are one server, a Cluster or Sentinels.
func setMode(option *rueidis.ClientOption, mode, primary string, query url.Values) error {
	switch mode {
	case "", "cluster":
	case "sentinel":
		if primary == "" {
			return errors.New("a Sentinel URL needs the name of the primary as its path, like redis+sentinel://host/mymaster")
		}
	default:
		return errors.New("the part after + must be cluster or sentinel")
	}
	if primary != "" {
		option.Sentinel = rueidis.SentinelOption{
			MasterSet: primary, Username: query.Get("sentinel_username"), Password: query.Get("sentinel_password"),
		}
	}
	switch query.Get("cluster") {
	case "", "true":
	case "false":
		// Left to itself the client asks the server, and believes it.
		option.ForceSingleClient = mode == "" && primary == ""
	default:
		return errors.New("cluster must be true or false")
	}
	return nil
}

// splitURL takes the list of hosts out of the URL, since net/url knows only one.
func splitURL(text string) (*url.URL, []string, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	base, _, _ := strings.Cut(scheme, "+")
	switch {
	case !ok:
		return nil, nil, errors.New("must begin with redis:// or rediss://")
	case scheme == "unix":
	case base != "redis" && base != "rediss" && base != "valkey" && base != "valkeys":
		return nil, nil, errors.New("the scheme must be redis, rediss or unix")
	}
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	user := ""
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, authority = authority[:at+1], authority[at+1:]
	}
	u, err := url.Parse(scheme + "://" + user + "host" + tail)
	if err != nil {
		return nil, nil, errors.New("cannot be read; special characters in the password must be percent-encoded")
	}
	return u, strings.Split(authority, ","), nil
}

func addresses(hosts []string, sentinels bool) ([]string, error) {
	list := make([]string, 0, len(hosts))
	for _, host := range hosts {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), ""
		}
		if strings.ContainsAny(name, "[]@ ") || port == "" && strings.HasSuffix(host, "]") != strings.Contains(name, ":") {
			return nil, errors.New("a host cannot be read")
		}
		if name == "" {
			name = "localhost"
		}
		if port == "" {
			port = "6379"
			if sentinels {
				port = "26379"
			}
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("a port must be a number from 1 to 65535")
		}
		list = append(list, net.JoinHostPort(name, port))
	}
	return list, nil
}

// number reads the number of a database; none is 0.
func number(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("the database must be a number")
	}
	return n, nil
}
