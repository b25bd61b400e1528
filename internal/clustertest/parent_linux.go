package clustertest

import "syscall"

// endWithParent makes a process end when the test's own does, even when that is killed.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
