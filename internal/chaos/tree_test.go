//go:build unix

package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// signalTree signals a process and its children, which are all started by this test.
func signalTree(t testing.TB, pid int, s syscall.Signal) {
	t.Helper()
	for _, p := range append(children(pid), pid) {
		if err := syscall.Kill(p, s); err != nil {
			t.Errorf("signal to %d: %v", p, err)
		}
	}
}

// children are the processes whose parent is the given one; none where there is no /proc.
func children(parent int) []int {
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name in parentheses may hold anything: what follows the last of them are the state and the parent.
		_, rest, _ := strings.Cut(string(text), ") ")
		var state string
		var ppid int
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil && ppid == parent {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(found, pid)
		}
	}
	return found
}

// residentOf is the memory of a process in bytes; 0 where there is no /proc.
func residentOf(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var size, resident int64
	_, _ = fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// filesOf counts a process's open files, and its sockets among them.
func filesOf(pid int) (files, sockets int) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil {
			files++
			if strings.HasPrefix(to, "socket:") {
				sockets++
			}
		}
	}
	return files, sockets
}
