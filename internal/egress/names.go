package egress

import "strings"

// Names are judged by their text alone. What they resolve to is checked at every dial.

// loopbackNames mean this very machine, in RFC 6761 and in the usual hosts files.
var loopbackNames = []string{"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}

// privateSuffixes exist only inside networks: reserved (RFC 6761, 6762, 8375, and "internal" by ICANN) or not delegated
// and in use there: Kubernetes writes service.namespace, and default is the namespace that everybody has.
var privateSuffixes = []string{
	"internal", "local", "localdomain", "home.arpa", "lan", "intranet", "private", "corp", "home", "mail", "test", "svc", "consul",
	"default", "workgroup", "domain",
}

// unusableSuffixes never lead to a receiver: reserved names (RFC 6761, 7686, 9476), those of other networks than the Internet, and
// the tree of reverse lookups.
var unusableSuffixes = []string{"onion", "i2p", "alt", "example", "invalid", "arpa"}

// metadataNames are how clouds name the service that hands out a machine's credentials.
var metadataNames = []string{
	"metadata", "metadata.goog", "metadata.google.internal", "metadata.azure.internal", "metadata.tencentyun.com",
	"metadata.packet.net", "metadata.platformequinix.com", "instance-data", "instance-data.ec2.internal", "rancher-metadata",
}

// checkName judges a host name in lower case, without a trailing dot.
func (p *Policy) checkName(host string) error {
	switch {
	case isWithin(host, metadataNames):
		return refuse("name_metadata", "must not name a cloud's metadata service; no setting allows it")
	case isLoopbackName(host):
		if !p.loopback {
			return refuse("name_local", "must not name this machine; the operator can allow 127.0.0.0/8 with %s", settingPrivate)
		}
	case isPrivateName(host):
		if !p.private {
			return refuse("name_private", "must have a public host name, like hooks.example.com; the operator can allow the private networks behind other names with %s", settingPrivate)
		}
	case isWithin(host, unusableSuffixes):
		return refuse("name_reserved", "must not use a reserved domain such as .example or .onion; no setting allows it")
	}
	return nil
}

func isLoopbackName(host string) bool {
	return isWithin(host, loopbackNames[1:]) || isWithin(host, loopbackNames[:1])
}

// isPrivateName includes every name of a single label: those live in hosts files and search lists.
func isPrivateName(host string) bool {
	return !strings.Contains(host, ".") || isWithin(host, privateSuffixes)
}

// isWithin reports a name in the list or below one of it.
func isWithin(host string, suffixes []string) bool {
	for _, suffix := range suffixes {
		if stem, ok := strings.CutSuffix(host, suffix); ok && (stem == "" || strings.HasSuffix(stem, ".")) {
			return true
		}
	}
	return false
}
