//go:build !unix

package doctor

import "os"

func openFiles() (uint64, bool)       { return 0, false }
func freeSpace(string) (uint64, bool) { return 0, false }

// writable tries: elsewhere there is no asking.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".posthorn-doctor-")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}
