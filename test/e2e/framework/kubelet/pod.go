// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is our side of a pod: its address and the process of its container.
type pod struct {
	cfg     Config
	name    string
	uid     types.UID
	address string

	mounted        time.Time // when the volumes were last written
	reportedStatus []byte    // the status as last reported
	asked          time.Time // when the process was asked to end
	restarts       int32

	mu      sync.Mutex
	process *process
}

// process is one run of the container.
type process struct {
	cmd     *exec.Cmd
	cancel  context.CancelFunc // of its probes
	began   metav1.Time
	exited  chan struct{}
	health  health
	outcome string // how it ended; read after exited
}

func (p *pod) dir(elements ...string) string {
	return filepath.Join(append([]string{p.cfg.Dir, string(p.uid)}, elements...)...)
}

func (p *pod) logFile() string { return filepath.Join(p.cfg.Dir, p.name+".log") }

func (p *pod) current() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}

func (p *pod) alive() bool {
	c := p.current()
	if c == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// due reports whether the container is to be started: it does not run, its last start
// was not just now, and it is not the pod of a Job, which runs once.
func (p *pod) due(object *corev1.Pod) bool {
	c := p.current()
	return c == nil || !p.alive() && time.Since(c.began.Time) > time.Second && object.Spec.RestartPolicy != corev1.RestartPolicyNever
}

// start runs the container. Its environment is that of the pod and nothing else.
func (p *pod) start(ctx context.Context, object *corev1.Pod) error {
	if len(object.Spec.Containers) != 1 || len(object.Spec.InitContainers) > 0 {
		return errors.New("only pods of a single container can be run")
	}
	container := object.Spec.Containers[0]
	program, err := p.cfg.Program(container.Image)
	if err != nil {
		return err
	}
	env, err := p.environment(ctx, object, container)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own descriptor
	paths := p.paths(container)
	cmd := exec.Command(program)
	for _, a := range container.Args {
		cmd.Args = append(cmd.Args, p.bound(paths.Replace(a), container))
	}
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = env, p.dir(), log, log, attributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	if p.current() != nil {
		p.restarts++
	}
	probing, cancel := context.WithCancel(context.Background())
	c := &process{cmd: cmd, cancel: cancel, began: metav1.Now(), exited: make(chan struct{})}
	p.mu.Lock()
	p.process = c
	p.mu.Unlock()
	fmt.Fprintf(p.cfg.Log, "kubelet: pod %s runs at %s\n", p.name, p.address)
	go func() {
		defer close(c.exited)
		defer cancel()
		c.outcome = "exit status 0"
		if err := cmd.Wait(); err != nil {
			c.outcome = err.Error()
		}
	}()
	go c.health.watch(probing, container, p.address, func() { _ = cmd.Process.Kill() })
	return nil
}

// value is that of a variable: plain, a field of the pod, or the memory limit of the
// container in bytes.
func value(object *corev1.Pod, container corev1.Container, e corev1.EnvVar) (string, error) {
	switch {
	case e.ValueFrom == nil:
		return e.Value, nil
	case e.ValueFrom.ResourceFieldRef != nil && e.ValueFrom.ResourceFieldRef.Resource == "limits.memory":
		return strconv.FormatInt(container.Resources.Limits.Memory().Value(), 10), nil
	case e.ValueFrom.FieldRef == nil:
	case e.ValueFrom.FieldRef.FieldPath == "metadata.namespace":
		return object.Namespace, nil
	case e.ValueFrom.FieldRef.FieldPath == "spec.serviceAccountName":
		return object.Spec.ServiceAccountName, nil
	}
	return "", fmt.Errorf("variable %s: only plain values, the namespace, the service account and the memory limit can be set", e.Name)
}

// environment is what the container asks for, and access to the API server.
// A pod finds the latter at a fixed path below /var/run, where this one has no
// business; hence the variable of the flag --kubeconfig.
func (p *pod) environment(ctx context.Context, object *corev1.Pod, container corev1.Container) ([]string, error) {
	env := []string{}
	paths := p.paths(container)
	for _, e := range container.Env {
		value, err := value(object, container, e)
		if err != nil {
			return nil, err
		}
		env = append(env, e.Name+"="+paths.Replace(value))
	}
	for _, m := range container.VolumeMounts {
		if m.MountPath != "/var/run/secrets/kubernetes.io/serviceaccount" {
			continue
		}
		token, err := p.cfg.Client.CoreV1().ServiceAccounts(object.Namespace).CreateToken(ctx, object.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: object.Name, UID: object.UID}},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("token of service account %s: %w", object.Spec.ServiceAccountName, err)
		}
		if err := p.cfg.Kubeconfig(p.dir("kubeconfig"), token.Status.Token); err != nil {
			return nil, err
		}
		env = append(env, "PRIVATELINK_KUBECONFIG="+p.dir("kubeconfig"))
	}
	return env, nil
}

// bound lets a listener on all addresses listen on the pod's own.
func (p *pod) bound(arg string, container corev1.Container) string {
	for _, port := range container.Ports {
		number := fmt.Sprint(port.ContainerPort)
		if flag, ok := strings.CutSuffix(arg, "=:"+number); ok {
			return flag + "=" + net.JoinHostPort(p.address, number)
		}
	}
	return arg
}

// kill ends the process at once.
func (p *pod) kill() {
	if c := p.current(); c != nil {
		_ = c.cmd.Process.Kill() // an error says that it has ended already
		<-c.exited
	}
}

// terminate asks the process to end, insists after the grace period, and then
// lets the object go.
func (p *pod) terminate(ctx context.Context, object *corev1.Pod) error {
	if p.alive() {
		grace := time.Duration(*object.DeletionGracePeriodSeconds) * time.Second
		switch {
		case p.asked.IsZero():
			p.asked = time.Now()
			_ = p.current().cmd.Process.Signal(syscall.SIGTERM) // it may just have ended
			fmt.Fprintf(p.cfg.Log, "kubelet: pod %s is asked to end within %s\n", p.name, grace)
			return nil
		case time.Since(p.asked) < grace:
			return p.report(ctx, object, nil)
		}
		p.kill()
	}
	fmt.Fprintf(p.cfg.Log, "kubelet: pod %s has ended\n", p.name)
	now, uid := int64(0), object.UID
	err := p.cfg.Client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	return errors.Join(err, os.RemoveAll(p.dir()))
}

// report writes the status if it changed. obstacle is why there is no process.
func (p *pod) report(ctx context.Context, object *corev1.Pod, obstacle error) error {
	status, err := json.Marshal(map[string]any{"status": p.status(object, obstacle)})
	if err != nil || bytes.Equal(status, p.reportedStatus) {
		return err
	}
	if _, err := p.cfg.Client.CoreV1().Pods(object.Namespace).Patch(ctx, object.Name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	p.reportedStatus = status
	return nil
}

func (p *pod) status(object *corev1.Pod, obstacle error) corev1.PodStatus {
	container := object.Spec.Containers[0]
	c := corev1.ContainerStatus{Name: container.Name, Image: container.Image, ImageID: container.Image, RestartCount: p.restarts, Started: new(bool)}
	s := corev1.PodStatus{Phase: corev1.PodPending, HostIP: p.cfg.Addresses[0], PodIP: p.address, PodIPs: []corev1.PodIP{{IP: p.address}}}
	run := p.current()
	switch {
	case p.alive():
		s.Phase = corev1.PodRunning
		*c.Started, c.Ready = run.health.state()
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: run.began}
	case run != nil && object.Spec.RestartPolicy == corev1.RestartPolicyNever:
		code := int32(run.cmd.ProcessState.ExitCode())
		c.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Reason: run.outcome, StartedAt: run.began}
		if s.Phase = corev1.PodSucceeded; code != 0 {
			s.Phase = corev1.PodFailed
		}
	case obstacle != nil:
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CreateContainerError", Message: obstacle.Error()}
	case run != nil:
		s.Phase = corev1.PodRunning
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: run.outcome}
	}
	s.ContainerStatuses = []corev1.ContainerStatus{c}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		condition := corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: object.CreationTimestamp}
		if t != corev1.PodInitialized && !c.Ready {
			condition.Status = corev1.ConditionFalse
		}
		s.Conditions = append(s.Conditions, condition)
	}
	return s
}
