//go:build !unix

package failpoint

import "os"

func killSelf() { os.Exit(137) }

// stopSelf does nothing: there is no such signal.
func stopSelf() {}
