//go:build unix

package egress

import (
	"errors"
	"net"
	"syscall"
)

// isQuiet reports that an idle connection is open and has nothing to read. It consumes what there is, as the connection is of
// no use then.
func isQuiet(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
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
