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
