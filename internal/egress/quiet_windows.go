package egress

import "net"

// isQuiet cannot be told here without waiting: a connection that the receiver has closed is found out by its request, which
// is then made once more.
func isQuiet(net.Conn) bool { return true }
