//go:build unix

package doctor

import "golang.org/x/sys/unix"

// openFiles is how many files the process may open. Go has raised the soft limit to the hard one.
func openFiles() (uint64, bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}

// freeSpace is what this user may still write to the disk of a directory, in bytes.
func freeSpace(dir string) (uint64, bool) {
	var is unix.Statfs_t
	if err := unix.Statfs(dir, &is); err != nil {
		return 0, false
	}
	return uint64(is.Bavail) * uint64(is.Bsize), true
}

func writable(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
