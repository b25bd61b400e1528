package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/app"
)

// TestImage holds the Dockerfile against what the other files rely on.
func TestImage(t *testing.T) {
	var last []string // the instructions of the final stage
	for line := range strings.Lines(string(read(t, "Dockerfile"))) {
		if strings.HasPrefix(line, "FROM ") {
			last = nil
		}
		last = append(last, strings.TrimSpace(line))
	}
	for _, want := range []string{
		"FROM scratch", "USER 65532:65532", "VOLUME /data", "EXPOSE 8000", `ENTRYPOINT ["/posthorn"]`, `CMD ["serve"]`,
	} {
		if !slices.Contains(last, want) {
			t.Errorf("the image lacks %s", want)
		}
	}
	if all := strings.Join(last, "\n"); !strings.Contains(all, "HEALTHCHECK") || !strings.Contains(all, "ca-certificates.crt") {
		t.Error("the image lacks the health check or the certificates of authorities")
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(read(t, "go.mod"))
	if !strings.Contains(string(read(t, "Dockerfile")), "golang:"+string(version[1])+"-") {
		t.Errorf("the Dockerfile does not build with Go %s, which go.mod asks for", version[1])
	}
}

func TestSystemd(t *testing.T) {
	unit := map[string]string{}
	for line := range strings.Lines(string(read(t, "deploy/systemd/posthorn.service"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			unit[name] = value
		}
	}
	for name, want := range map[string]string{
		"ExecStart": "/usr/local/bin/posthorn serve", "Restart": "always", "DynamicUser": "yes", "StateDirectory": "posthorn",
		"ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "WantedBy": "multi-user.target",
	} {
		if got, ok := unit[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestSystemdAgrees has systemd read the unit, with a program that is there in the place of posthorn.
func TestSystemdAgrees(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: TestSystemd must do")
		return
	}
	unit := filepath.Join(t.TempDir(), "posthorn.service")
	text := strings.ReplaceAll(string(read(t, "deploy/systemd/posthorn.service")), "/usr/local/bin/posthorn", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "posthorn.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestStopsAreLongEnough keeps every platform from killing a node that is still handing its work back.
func TestStopsAreLongEnough(t *testing.T) {
	stop := int(app.StopTimeout.Seconds())
	for path, pattern := range map[string]string{
		"docker-compose.yml":              `stop_grace_period: (\d+)s`,
		"render.yaml":                     `maxShutdownDelaySeconds: (\d+)`,
		"deploy/systemd/posthorn.service": `TimeoutStopSec=(\d+)`,
		"deploy/kubernetes/api.yaml":      `terminationGracePeriodSeconds: (\d+)`,
		"deploy/kubernetes/worker.yaml":   `terminationGracePeriodSeconds: (\d+)`,
	} {
		found := regexp.MustCompile(pattern).FindAllSubmatch(read(t, path), -1)
		if len(found) == 0 {
			t.Errorf("%s does not say how long a stop may take", path)
		}
		for _, match := range found {
			if seconds, err := strconv.Atoi(string(match[1])); err != nil || seconds <= stop {
				t.Errorf("%s allows %s s for a stop, which takes up to %d s", path, match[1], stop)
			}
		}
	}
}
