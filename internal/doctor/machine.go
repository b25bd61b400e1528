package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// fewFiles is a limit of open files that a worker's 2,048 requests and 10,000 clients can exceed.
	fewFiles = 16_384
	// littleSpace is where a full disk is near.
	littleSpace = 1 << 30
)

// examineMachine looks at the limits of the process and, with the embedded store, at its directory.
func examineMachine(_ context.Context, o Options) []Finding {
	var all []Finding
	if files, ok := openFiles(); ok && files < fewFiles {
		all = append(all, warn("open files", fmt.Sprintf("this process may open %d files", files),
			fmt.Sprintf("raise the limit to %d or more (LimitNOFILE= in systemd, ulimits in Docker)", 4*fewFiles)))
	}
	if path := o.Settings.SQLitePath(); path != "" {
		all = append(all, examineDirectory(filepath.Dir(path))...)
	}
	return all
}

// examineDirectory looks at the nearest directory that exists: a start makes the rest.
func examineDirectory(dir string) []Finding {
	const about = "data directory"
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		return []Finding{fail(about, err.Error(), "set POSTHORN_DATA_DIR to a directory that this user may write")}
	case !info.IsDir():
		return []Finding{fail(about, dir+" is no directory", "set POSTHORN_DATA_DIR to a directory that this user may write")}
	case !writable(dir):
		return []Finding{fail(about, dir+" cannot be written by this user",
			"give it to the user that runs posthorn, mount a volume there, or set POSTHORN_DATA_DIR")}
	}
	free, ok := freeSpace(dir)
	if ok && free < littleSpace {
		return []Finding{warn(about, fmt.Sprintf("%d MiB are free at %s; a full disk refuses events with 503", free>>20, dir),
			"free some, enlarge the disk, or shorten POSTHORN_RETENTION")}
	}
	if !ok {
		return []Finding{fine(about, "%s", dir)}
	}
	return []Finding{fine(about, "%s, %d GiB free", dir, free>>30)}
}
