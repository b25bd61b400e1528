package egress

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestCorpusRefused(t *testing.T) {
	policy := NewPolicy(nil, true)
	client := New(Options{Policy: policy})
	eachCorpus(t, "ssrf.json", func(t *testing.T, c ssrfCorpus) {
		for _, refused := range c.Refuse {
			t.Run(refused.ID, func(t *testing.T) {
				u, err := policy.CheckURL(refused.URL)
				refusal, ok := errors.AsType[*Refusal](err)
				if !ok {
					t.Fatalf("CheckURL(%q) = %v, %v; want a refusal: %s", refused.URL, u, err, refused.Reason)
				}
				if refusal.Code == "" || !strings.HasPrefix(refusal.Message, "must ") {
					t.Errorf("refusal %+v does not say what would be right", refusal)
				}
				if addr, err := netip.ParseAddr(refused.Decodes); err == nil {
					if policy.CheckAddr(addr) == nil {
						t.Errorf("%s may be dialled", addr)
					}
					if strings.Contains(refusal.Message, addr.String()) {
						t.Errorf("the message holds the address: %s", refusal.Message)
					}
				}
				// A row forced into the store is refused at delivery as well.
				forced, err := ParseURL(refused.URL)
				if err != nil {
					return
				}
				if r := client.Do(context.Background(), Request{URL: forced}); r.Outcome != posthorn.Blocked || !r.OurFault {
					t.Errorf("forced: %s %s (%v)", r.Outcome, r.Code, r.Err)
				}
			})
		}
	})
}

func TestCorpusAccepted(t *testing.T) {
	policy := NewPolicy(nil, false)
	eachCorpus(t, "ssrf.json", func(t *testing.T, c ssrfCorpus) {
		for _, accepted := range c.Accept {
			raw := accepted.text(t)
			u, err := policy.CheckURL(raw)
			if err != nil {
				t.Errorf("%s: CheckURL(%q) = %v, want it accepted: %s", accepted.ID, raw, err, accepted.Why)
				continue
			}
			if _, err := ParseURL(raw); err != nil {
				t.Errorf("%s: accepted, but it cannot be sent to: %v", accepted.ID, err)
			}
			if again, err := policy.CheckURL(u.String()); err != nil || again.String() != u.String() {
				t.Errorf("%s: its normal form %q is not stable: %v, %v", accepted.ID, u, again, err)
			}
		}
	})
}

func TestNormalForm(t *testing.T) {
	policy := NewPolicy(nil, true)
	cases := map[string]struct{ raw, want string }{
		"Plain":             {"https://example.com/hook?a=b", "https://example.com/hook?a=b"},
		"UpperCase":         {"HTTPS://Hooks.EXAMPLE.com/Hook", "https://hooks.example.com/Hook"},
		"NoPath":            {"https://example.com", "https://example.com"},
		"OnlyQuery":         {"https://example.com?a=@b", "https://example.com?a=@b"},
		"DefaultPort":       {"https://example.com:443/", "https://example.com/"},
		"DefaultHTTPPort":   {"http://example.com:80/", "http://example.com/"},
		"OtherPort":         {"http://example.com:443/", "http://example.com:443/"},
		"HighPort":          {"https://example.com:65535/", "https://example.com:65535/"},
		"TrailingDot":       {"https://example.com./hook", "https://example.com/hook"},
		"Escapes":           {"https://example.com/a%2Fb/c%20d?e=%2f", "https://example.com/a%2Fb/c%20d?e=%2f"},
		"OddButPlain":       {"https://example.com/a;b,c(d)'e!f*g:h@i?j=k/l?m", "https://example.com/a;b,c(d)'e!f*g:h@i?j=k/l?m"},
		"DotSegments":       {"https://example.com/a/../b/./c//d", "https://example.com/a/../b/./c//d"},
		"International":     {"https://BÜCHER.example.com/", "https://xn--bcher-kva.example.com/"},
		"InternationalTLD":  {"https://例え.テスト例.jp/", "https://xn--r8jz45g.xn--zckzah4162a.jp/"},
		"AlreadyASCII":      {"https://xn--bcher-kva.de/", "https://xn--bcher-kva.de/"},
		"InternationalPath": {"https://example.com/ü?q=日", "https://example.com/%C3%BC?q=%E6%97%A5"},
		"Unwise":            {"https://example.com/a%2Fb/{x}|\"<y>^`?q={x}%2f|\"<>^`'", "https://example.com/a%2Fb/%7Bx%7D%7C%22%3Cy%3E%5E%60?q=%7Bx%7D%2f%7C%22%3C%3E%5E%60'"},
		"Brackets":          {"https://example.com/a%2Fb[0]?c[]=1", "https://example.com/a%2Fb[0]?c[]=1"},
		"Underscore":        {"https://under_score.example.com/hook", "https://under_score.example.com/hook"},
		"DoubleHyphens":     {"https://r3---sn-a.example.com/", "https://r3---sn-a.example.com/"},
		"DigitsInside":      {"https://127.0.0.1.nip.io/", "https://127.0.0.1.nip.io/"},
		"IPv4":              {"https://1.1.1.1/", "https://1.1.1.1/"},
		"IPv6":              {"https://[2606:4700:4700:0:0:0:0:1111]:8443/", "https://[2606:4700:4700::1111]:8443/"},
		"MetadataOfOthers":  {"https://metadata.example.com/", "https://metadata.example.com/"},
		"NotLocalhost":      {"https://notlocalhost.com/", "https://notlocalhost.com/"},
		"LocalInside":       {"https://local.example.com/", "https://local.example.com/"},
		"Internalised":      {"https://myinternal.com/", "https://myinternal.com/"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u, err := policy.CheckURL(c.raw)
			if err != nil || u.String() != c.want {
				t.Fatalf("CheckURL(%q) = %v, %v; want %s", c.raw, u, err, c.want)
			}
			if u.Path != "" && !strings.HasSuffix(c.want, u.RequestURI()) {
				t.Errorf("%q is asked for as %s", c.raw, u.RequestURI())
			}
		})
	}
}

func TestRefusedByRule(t *testing.T) {
	policy := NewPolicy(nil, true)
	cases := map[string]struct{ raw, code string }{
		"Empty":               {"", "scheme"},
		"SchemeOnly":          {"https:", "scheme"},
		"ThreeSlashes":        {"https:///example.com/", "scheme"},
		"TooLong":             {"https://example.com/" + strings.Repeat("a", 2048), "length"},
		"Space":               {"https://example.com/a b", "characters"},
		"TrailingSpace":       {"https://example.com/ ", "characters"},
		"Tab":                 {"ht\ttps://example.com/", "characters"},
		"NUL":                 {"https://example.com/\x00", "characters"},
		"NoBreakSpace":        {"https://example.com/\u00a0", "characters"},
		"ZeroWidth":           {"https://exam\u200bple.com/", "characters"},
		"RightToLeft":         {"https://example.com/\u202emoc", "characters"},
		"BadUTF8":             {"https://example.com/\xff", "characters"},
		"Backslashes":         {`https:\\example.com\hook`, "characters"},
		"BackslashInPath":     {`https://example.com/\hook`, "characters"},
		"Userinfo":            {"https://user:pass@example.com/", "userinfo"},
		"EmptyPort":           {"https://example.com:/", "port"},
		"PortZero":            {"https://example.com:0/", "port"},
		"PortTooHigh":         {"https://example.com:65536/", "port"},
		"PortLeadingZero":     {"https://example.com:0443/", "port"},
		"PortPlus":            {"https://example.com:+443/", "port"},
		"PortOtherDigits":     {"https://example.com:４４３/", "port"},
		"PortOfRedis":         {"https://example.com:6379/", "port_service"},
		"PortOfConsul":        {"https://example.com:8500/", "port_service"},
		"ISATAP":              {"https://[2a00::200:5efe:127.0.0.1]/", "address_not_public"},
		"I2P":                 {"https://hidden.i2p/", "name_reserved"},
		"Fragment":            {"https://example.com/#x", "fragment"},
		"FragmentHidesHost":   {"http://example.com#@127.0.0.1/", "fragment"},
		"BadEscape":           {"https://example.com/%zz", "path"},
		"CutEscape":           {"https://example.com/%2", "path"},
		"EscapedHost":         {"https://ex%61mple.com/", "host"},
		"IPv6WithoutBrackets": {"https://2606:4700:4700::1111/", "host"},
		"IPv4InBrackets":      {"https://[1.1.1.1]/", "host"},
		"EmptyBrackets":       {"https://[]/", "host"},
		"FutureAddress":       {"https://[v1.fe80::a]/", "host"},
		"Zone":                {"https://[fe80::1%25eth0]/", "host"},
		"MappedPublic":        {"https://[::ffff:1.1.1.1]/", "address_form"},
		"NAT64Public":         {"https://[64:ff9b::808:808]/hook", "address_form"},
		"FullWidthPublic":     {"https://１.1.1.1/", "host_international"},
		"FullWidthLetters":    {"https://ｅｘａｍｐｌｅ.com/", "host_international"},
		"IdeographicDot":      {"https://example。com/", "host_international"},
		"KelvinSign":          {"https://\u212aube.example.com/", "host_international"},
		"CircledDigits":       {"https://①②⑦.0.0.1/", "host_international"},
		"OtherDigits":         {"http://१२७.०.०.१/", "host_international"},
		"OtherDigitsLast":     {"https://example.௧/", "host_international"},
		"BadPunycode":         {"https://xn--\u00fc.com/", "host_international"},
		"PunycodeOfASCII":     {"https://xn--localhost-.com/", "host_international"},
		"TrailingDotIPv4":     {"https://1.1.1.1./", "address_form"},
		"FiveNumbers":         {"https://1.1.1.1.1/", "address_form"},
		"HexLast":             {"https://example.0x1/", "address_form"},
		"BareHexLast":         {"https://example.0x/", "address_form"},
		"NumericLast":         {"https://example.1/", "address_form"},
		"LeadingZeros":        {"https://01.1.1.1/", "address_form"},
		"Wildcard":            {"https://*.example.com/", "host"},
		"Quotes":              {`https://"example".com/`, "host"},
		"OnlyDot":             {"https://./", "host"},
		"LongLabel":           {"https://" + strings.Repeat("a", 64) + ".com/", "host"},
		"LongName":            {"https://" + strings.Repeat("a.", 127) + "com/", "host"},
		"HyphenLast":          {"https://a-.example.com/", "host"},
		"SingleLabel":         {"https://ai/", "name_private"},
		"Mdns":                {"https://printer.local/", "name_private"},
		"Namespace":           {"https://kubernetes.default/", "name_private"},
		"Workgroup":           {"https://files.workgroup/", "name_private"},
		"Domain":              {"https://files.domain/", "name_private"},
		"HomeArpa":            {"https://nas.home.arpa/", "name_private"},
		"Reverse":             {"https://1.0.0.127.in-addr.arpa/", "name_reserved"},
		"Tencent":             {"http://metadata.tencentyun.com/", "name_metadata"},
		"Localdomain":         {"http://localhost.localdomain/", "name_local"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u, err := policy.CheckURL(c.raw)
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.Code != c.code {
				t.Errorf("CheckURL(%q) = %v, %+v; want a refusal %s", c.raw, u, err, c.code)
			}
		})
	}
}

func TestSettingsWiden(t *testing.T) {
	closed := NewPolicy(nil, false)
	loopback := NewPolicy(prefixes("127.0.0.0/8", "::1/128"), true)
	private := NewPolicy(prefixes("10.0.0.0/8", "::ffff:192.168.0.0/112"), true)
	cases := map[string]struct {
		policy  *Policy
		raw     string
		code    string
		setting string
	}{
		"HTTPClosed":              {closed, "http://example.com/hook", "scheme_http", "POSTHORN_ALLOW_HTTP"},
		"LoopbackClosed":          {closed, "https://127.0.0.1/", "address_not_public", "POSTHORN_ALLOW_PRIVATE"},
		"LocalhostClosed":         {closed, "https://localhost/", "name_local", "POSTHORN_ALLOW_PRIVATE"},
		"LoopbackAnyPort":         {loopback, "http://127.0.0.1:9/", "", ""},
		"LoopbackIPv6":            {loopback, "http://[::1]:6379/", "", ""},
		"Localhost":               {loopback, "http://localhost:5432/hook", "", ""},
		"LocalhostBelow":          {loopback, "http://app.localhost/", "", ""},
		"LoopbackDisguised":       {loopback, "http://[::ffff:127.0.0.1]/", "address_form", ""},
		"LoopbackDecimal":         {loopback, "http://2130706433/", "address_form", ""},
		"PrivateNotByLoopback":    {loopback, "http://10.0.0.1/", "address_not_public", "POSTHORN_ALLOW_PRIVATE"},
		"NamesNotByLoopback":      {loopback, "http://kubernetes.default.svc.cluster.local/", "name_private", "POSTHORN_ALLOW_PRIVATE"},
		"PublicPortStaysForeign":  {loopback, "http://example.com:6379/", "port_service", ""},
		"Private":                 {private, "http://10.1.2.3:8080/", "", ""},
		"PrivateMapped":           {private, "http://192.168.0.7/", "", ""},
		"PrivateName":             {private, "http://receiver:8080/hook", "", ""},
		"PrivateSuffix":           {private, "http://hooks.svc.cluster.local/", "", ""},
		"MetadataNever":           {private, "http://metadata.google.internal/", "name_metadata", ""},
		"LocalhostNotByPrivate":   {private, "http://localhost/", "name_local", "POSTHORN_ALLOW_PRIVATE"},
		"OtherPrivateStaysClosed": {private, "http://172.16.0.1/", "address_not_public", "POSTHORN_ALLOW_PRIVATE"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := c.policy.CheckURL(c.raw)
			refusal, refused := errors.AsType[*Refusal](err)
			if c.code == "" {
				if err != nil {
					t.Errorf("CheckURL(%q) = %v, want it accepted", c.raw, err)
				}
				return
			}
			if !refused || refusal.Code != c.code || !strings.Contains(refusal.Message, c.setting) {
				t.Errorf("CheckURL(%q) = %v, want a refusal %s that names %q", c.raw, err, c.code, c.setting)
			}
		})
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/hook?a=b", "http://127.0.0.1:80/", "http://0x7f.1/", "https://[::ffff:127.0.0.1%25lo]/", "http://１２７.0.0.1/",
		"https://例え.jp/", "https://xn--r8jz45g.jp./", "https://a@b/", "http://1.1.1.1", "https://[2001:4860:4860::8888]:8443/", "http://localhost。/",
	} {
		f.Add(seed)
	}
	policy := NewPolicy(nil, true)
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := policy.CheckURL(raw)
		if err != nil {
			if _, ok := errors.AsType[*Refusal](err); !ok {
				t.Fatalf("CheckURL(%q) = %T, want a *Refusal", raw, err)
			}
			return
		}
		_, rest, _ := strings.Cut(raw, "//")
		if i := strings.IndexAny(rest, "/?"); i >= 0 && !strings.HasSuffix(u.String(), escape(rest[i:])) {
			t.Fatalf("CheckURL(%q) = %q: path and query are not as they were written", raw, u)
		}
		if u.User != nil || u.Fragment != "" || u.Opaque != "" || !isASCII(u.String()) || strings.ContainsAny(u.String(), " \\\t\r\n") {
			t.Fatalf("CheckURL(%q) = %q", raw, u)
		}
		host := u.Hostname()
		if host == "" || strings.HasSuffix(host, ".") || strings.Contains(host, "%") {
			t.Fatalf("CheckURL(%q) has the host %q", raw, host)
		}
		// What anyone could read as a number must be a public address, in its own spelling.
		if addr, err := netip.ParseAddr(host); err == nil {
			if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.String() != host || policy.CheckAddr(addr) != nil {
				t.Fatalf("CheckURL(%q) accepts the address %s", raw, addr)
			}
		} else if endsInNumber(host) {
			t.Fatalf("CheckURL(%q) accepts the host %q", raw, host)
		}
		if _, err := ParseURL(raw); err != nil {
			t.Fatalf("CheckURL(%q) = %q, but it cannot be sent to: %v", raw, u, err)
		}
		again, err := policy.CheckURL(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("CheckURL(%q) = %q, whose own is %v (%v)", raw, u, again, err)
		}
	})
}

// A policy's word about a URL is not another policy's.
func TestURLIsJudgedByEachPolicy(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	u, strict, loopback := rec.url(), New(Options{Policy: NewPolicy(nil, false)}), loopbackClient(t)
	for range 2 {
		if r := post(strict, u); r.Outcome != posthorn.Blocked {
			t.Errorf("strict: %s %s", r.Outcome, r.Code)
		}
		if r := post(loopback, u); r.Outcome != posthorn.Succeeded {
			t.Errorf("loopback: %s %s (%v)", r.Outcome, r.Code, r.Err)
		}
	}
	if r := strict.Do(t.Context(), Request{}); r.Outcome != posthorn.Blocked {
		t.Errorf("no URL: %s %s", r.Outcome, r.Code)
	}
}

func BenchmarkCheckURL(b *testing.B) {
	policy := NewPolicy(nil, false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.CheckURL("https://hooks.example.com/v1/in/0f3c-4a"); err != nil {
			b.Fatal(err)
		}
	}
}
