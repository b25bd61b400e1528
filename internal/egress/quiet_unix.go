//go:build unix

package egress

import (
	"errors"
	"net"
	"syscall"
)

// looksAtIdle says that isQuiet can tell, without which no connection may be kept that nobody reads from.
const looksAtIdle = true

// isQuiet reports that a connection of the kernel's is open and has nothing to read. It consumes what there is, as the connection
// is of no use then. A read deadline must not have passed.
func isQuiet(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		// A test's pipe.
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}
