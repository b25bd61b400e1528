package deploy

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// object is the part of a Kubernetes object that is looked at.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name, Namespace string }
	Spec       struct {
		Selector                 map[string]any
		Template                 podTemplate
		ScaleTargetRef           struct{ Kind, Name string } `yaml:"scaleTargetRef"`
		MinReplicas, MaxReplicas int
		Ports                    []struct {
			TargetPort string `yaml:"targetPort"`
		}
	}
	Data map[string]string
}

type podTemplate struct {
	Metadata struct{ Labels map[string]string }
	Spec     struct {
		Automount       *bool `yaml:"automountServiceAccountToken"`
		Grace           int   `yaml:"terminationGracePeriodSeconds"`
		SecurityContext struct {
			RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		Containers []container
	}
}

type container struct {
	Name, Image string
	Env         []struct{ Name, Value string }
	EnvFrom     []map[string]struct{ Name string } `yaml:"envFrom"`
	Ports       []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Liveness        probe `yaml:"livenessProbe"`
	Readiness       probe `yaml:"readinessProbe"`
	Startup         probe `yaml:"startupProbe"`
	SecurityContext struct {
		Escalation   *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities struct{ Drop []string }
	} `yaml:"securityContext"`
	Resources struct{ Requests, Limits map[string]string }
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// manifests are all objects by kind and name.
func manifests(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	for _, path := range paths(t) {
		if !strings.HasPrefix(path, "deploy/kubernetes/") || strings.HasSuffix(path, "kustomization.yaml") {
			continue
		}
		for _, o := range documents[object](t, path) {
			if o.APIVersion == "" || o.Kind == "" || o.Metadata.Name == "" {
				t.Errorf("%s: an object without apiVersion, kind or name", path)
			}
			if o.Kind != "Namespace" && o.Metadata.Namespace != "posthorn" {
				t.Errorf("%s: %s %s is in the namespace %q", path, o.Kind, o.Metadata.Name, o.Metadata.Namespace)
			}
			all[o.Kind+"/"+o.Metadata.Name] = o
		}
	}
	return all
}

func TestKubernetesReferences(t *testing.T) {
	all := manifests(t)
	for name, o := range all {
		switch o.Kind {
		case "Deployment":
			if !selects(o.Spec.Selector["matchLabels"], o) {
				t.Errorf("%s does not select its own pods", name)
			}
			checkSources(t, all, o)
			for _, kind := range []string{"PodDisruptionBudget", "HorizontalPodAutoscaler"} {
				if _, ok := all[kind+"/"+o.Metadata.Name]; !ok {
					t.Errorf("%s has no %s", name, kind)
				}
			}
		case "Service":
			target, ok := all["Deployment/posthorn-api"]
			if !ok || !selects(o.Spec.Selector, target) || o.Spec.Ports[0].TargetPort != target.Spec.Template.Spec.Containers[0].Ports[0].Name {
				t.Errorf("%s does not reach the API", name)
			}
		case "PodDisruptionBudget":
			if !selects(o.Spec.Selector["matchLabels"], all["Deployment/"+o.Metadata.Name]) {
				t.Errorf("%s selects no pods", name)
			}
		case "HorizontalPodAutoscaler":
			if _, ok := all[o.Spec.ScaleTargetRef.Kind+"/"+o.Spec.ScaleTargetRef.Name]; !ok {
				t.Errorf("%s scales nothing", name)
			}
		}
	}
	api, worker := all["Deployment/posthorn-api"], all["Deployment/posthorn-worker"]
	checkRoles(t, api.Spec.Template.Spec.Containers[0].Env[0].Value, worker.Spec.Template.Spec.Containers[0].Env[0].Value)
}

// selects reports whether a selector's labels are exactly those of a deployment's pods.
func selects(selector any, deployment object) bool {
	labels, ok := selector.(map[string]any)
	want := map[string]any{}
	for name, value := range deployment.Spec.Template.Metadata.Labels {
		want[name] = value
	}
	return ok && len(want) > 0 && maps.Equal(labels, want)
}

func checkSources(t *testing.T, all map[string]object, o object) {
	t.Helper()
	kinds := map[string]string{"configMapRef": "ConfigMap", "secretRef": "Secret"}
	for _, from := range o.Spec.Template.Spec.Containers[0].EnvFrom {
		for ref, source := range from {
			if _, ok := all[kinds[ref]+"/"+source.Name]; !ok {
				t.Errorf("%s takes settings from %s %s, which is not there", o.Metadata.Name, ref, source.Name)
			}
		}
	}
}

func TestKubernetesPods(t *testing.T) {
	for name, o := range manifests(t) {
		if o.Kind != "Deployment" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			pod := o.Spec.Template.Spec
			if len(pod.Containers) != 1 {
				t.Fatalf("%d containers", len(pod.Containers))
			}
			if !pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != "RuntimeDefault" ||
				pod.Automount == nil || *pod.Automount {
				t.Error("the pod may be root, make any system call, or act in the cluster")
			}
			checkContainer(t, pod.Containers[0])
		})
	}
}

func checkContainer(t *testing.T, c container) {
	t.Helper()
	s := c.SecurityContext
	if s.Escalation == nil || *s.Escalation || !s.ReadOnly || strings.Join(s.Capabilities.Drop, " ") != "ALL" {
		t.Errorf("the container is not locked down: %+v", s)
	}
	for path, p := range map[string]probe{"/health/live": c.Liveness, "/health/ready": c.Readiness} {
		if p.HTTPGet.Path != path || p.HTTPGet.Port != c.Ports[0].Name {
			t.Errorf("the probe is %+v, want %s", p.HTTPGet, path)
		}
	}
	if c.Startup.HTTPGet.Path != "/health/live" {
		t.Error("no startup probe: a long migration would be killed")
	}
	if c.Ports[0].ContainerPort != 8000 {
		t.Errorf("the port is %d", c.Ports[0].ContainerPort)
	}
	limit, err := strconv.Atoi(strings.TrimSuffix(c.Resources.Limits["memory"], "Mi"))
	soft, err2 := strconv.Atoi(strings.TrimSuffix(c.Env[1].Value, "MiB"))
	if err != nil || err2 != nil || soft >= limit {
		t.Errorf("GOMEMLIMIT %s must be below the memory limit %s", c.Env[1].Value, c.Resources.Limits["memory"])
	}
}

// TestKustomize builds what kubectl apply -k would send, with the component that scales on the age of the queue.
func TestKustomize(t *testing.T) {
	tool, err := exec.LookPath("kubectl")
	if err != nil {
		t.Log("kubectl is not installed: the other tests of the manifests must do")
		return
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [%s]\ncomponents: [%s/queue-age]\n", base, base)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "kustomize", dir).Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v\n%s", err, out)
	}
	for _, want := range []string{"kind: PodDisruptionBudget", "averageUtilization: 70", "name: posthorn_queue_oldest_due_seconds"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}
