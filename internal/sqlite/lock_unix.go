//go:build unix

package sqlite

import (
	"os"
	"syscall"
)

// lock takes the file's exclusive lock, which ends with the file or the process; it fails at once where another has it.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
