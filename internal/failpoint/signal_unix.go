//go:build unix

package failpoint

import (
	"os"
	"syscall"
)

func killSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }

func stopSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }
