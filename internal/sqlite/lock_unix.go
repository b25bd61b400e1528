//go:build unix

package sqlite

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file's exclusive lock, which ends with the file or the process; it fails at once, with errTaken where another has it.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errTaken
	}
	return err
}

// leaveTo gives a file to the owner of the first of others that is there, where this user may: what root makes beside a service must be
// the service's. A link is not followed: the service's user, who made it, must not be given what it leads to.
func leaveTo(file string, others ...string) {
	for _, other := range others {
		if info, err := os.Stat(other); err == nil {
			if of, ok := info.Sys().(*syscall.Stat_t); ok {
				_ = os.Lchown(file, int(of.Uid), int(of.Gid))
			}
			return
		}
	}
}
