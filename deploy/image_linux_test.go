package deploy

import (
	"bufio"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestImageContentsRun does by hand what the Dockerfile does, as far as the machine allows: the static binary alone in an empty
// root, as the image's user, who may write to nothing but /data, with the image's settings; it starts, answers its own health
// check, and stops when asked. Only root may change the root; others run it in place.
func TestImageContentsRun(t *testing.T) {
	image, err := os.MkdirTemp("", "posthorn-image-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(image) })
	program := filepath.Join(image, "posthorn")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=image", "-o", program, "../cmd/posthorn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 || f.Section(".interp") != nil {
		t.Errorf("the binary is not static: %v, %v", libraries, err)
	}

	data, inside := filepath.Join(image, "data"), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	path, dataDir := program, data
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(data, 65532, 65532); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(image, 0o555); err != nil {
			t.Fatal(err)
		}
		inside.Chroot, inside.Credential = image, &syscall.Credential{Uid: 65532, Gid: 65532}
		path, dataDir = "/posthorn", "/data"
	}
	command := func(port string, args ...string) *exec.Cmd {
		cmd := &exec.Cmd{Path: path, Args: append([]string{"/posthorn"}, args...), Dir: dataDir, SysProcAttr: inside}
		// The Dockerfile's, but for the port, which must be free.
		cmd.Env = []string{"HOST=127.0.0.1", "PORT=" + port, "POSTHORN_DATA_DIR=" + dataDir, "TMPDIR=" + dataDir}
		return cmd
	}
	serve := command("0", "serve")
	var log strings.Builder
	serve.Stderr = &log
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	port, lines := "", bufio.NewScanner(out)
	for port == "" && lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			port = url[strings.LastIndex(url, ":")+1:]
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if port == "" {
		_ = serve.Wait()
		t.Fatalf("it ended before it listened:\n%s", log.String())
	}
	if out, err := command(port, "health").CombinedOutput(); err != nil {
		t.Errorf("the health check: %v\n%s", err, out)
	}
	if info, err := os.Stat(filepath.Join(data, "posthorn.db")); err != nil || info.Size() == 0 {
		t.Errorf("the store is not in /data: %v", err)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it stopped with %v:\n%s", err, log.String())
		}
	case <-time.After(40 * time.Second):
		_ = serve.Process.Kill()
		t.Error("it did not stop")
	}
	if out, err := command("1", "health").CombinedOutput(); err == nil {
		t.Errorf("the health check of a node that is gone says\n%s", out)
	}
}
