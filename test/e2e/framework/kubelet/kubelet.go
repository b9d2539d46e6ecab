// SPDX-License-Identifier: Apache-2.0

// Package kubelet stands in for the kubelet, the scheduler and the container
// runtime of one node, for the pods of one namespace.
//
// A pod's only container becomes a process, started from the pod as the API
// server keeps it: its arguments, its variables, its volumes, a token of its
// service account. Its probes decide about its readiness, which is written into
// the pod's status; from there on the cluster's own controllers publish its
// endpoint. A deleted pod gets a SIGTERM and its grace period.
//
// Two things differ from a real pod, for want of namespaces of its own. A
// listener on all addresses listens on the pod's address. And paths below a
// mount are replaced by where the volume really is.
package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Config is what Start needs. All but Log is required.
type Config struct {
	Client     kubernetes.Interface
	Namespace  string                             // whose pods are run
	Program    func(image string) (string, error) // what is in an image: a program of this machine
	Kubeconfig func(path, token string) error     // writes a kubeconfig for a token
	Addresses  []string                           // of pods; one for which none is left stays Pending
	Dir        string                             // for volumes and logs
	Log        io.Writer                          // default: discards
}

// Kubelet runs pods until Stop.
type Kubelet struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	pods map[types.UID]*pod
	held bool // see Crash
}

// Start registers the node and begins to run the pods of the namespace. ctx
// bounds the registration only.
func Start(ctx context.Context, cfg Config) (*Kubelet, error) {
	if cfg.Client == nil || cfg.Namespace == "" || cfg.Program == nil || cfg.Kubeconfig == nil || len(cfg.Addresses) == 0 || cfg.Dir == "" {
		return nil, errors.New("kubelet: all fields of Config but Log are required")
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	k := &Kubelet{cfg: cfg, pods: map[types.UID]*pod{}, done: make(chan struct{})}
	if err := k.register(ctx); err != nil {
		return nil, fmt.Errorf("kubelet: registering the node: %w", err)
	}
	running, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	go k.run(running)
	return k, nil
}

// Stop kills what still runs, without the grace that a deleted pod gets.
func (k *Kubelet) Stop() {
	k.cancel()
	<-k.done
}

// Crash kills the process of every pod, as when the node runs out of memory,
// and starts none until Recover.
func (k *Kubelet) Crash() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = true
	for _, p := range k.pods {
		p.kill()
	}
}

// Recover ends what Crash began.
func (k *Kubelet) Recover() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = false
}

func (k *Kubelet) isHeld() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held
}

// Capacity is how many pods can run at once.
func (k *Kubelet) Capacity() int { return len(k.cfg.Addresses) }

// Pod is a pod with a running process.
type Pod struct {
	Name    string
	Address string
}

// Pods are the pods that run now, by name.
func (k *Kubelet) Pods() []Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Pod
	for _, p := range k.pods {
		if p.alive() {
			out = append(out, Pod{p.name, p.address})
		}
	}
	slices.SortFunc(out, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// run looks at the pods ten times a second. Watching them would be quicker only
// until the API server restarts, which it does in some tests.
func (k *Kubelet) run(ctx context.Context) {
	// Processes die with the thread that started them, see attributes.
	runtime.LockOSThread()
	defer close(k.done)
	defer k.killAll()
	tick, heartbeat := time.NewTicker(100*time.Millisecond), time.NewTicker(10*time.Second)
	defer tick.Stop()
	defer heartbeat.Stop()
	var lastLogged string
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
			err = k.heartbeat(ctx)
		case <-tick.C:
			err = k.sync(ctx)
		}
		if err != nil && ctx.Err() == nil && err.Error() != lastLogged {
			lastLogged = err.Error()
			fmt.Fprintln(k.cfg.Log, "kubelet:", lastLogged)
		}
	}
}

func (k *Kubelet) killAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		p.kill()
	}
}

func (k *Kubelet) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := k.cfg.Client.CoreV1().Pods(k.cfg.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	seen := map[types.UID]bool{}
	for i := range list.Items {
		p := &list.Items[i]
		seen[p.UID] = true
		if err := k.syncPod(ctx, p); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("pod %s: %w", p.Name, err))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for uid, p := range k.pods {
		if !seen[uid] { // deleted by force
			p.kill()
			delete(k.pods, uid)
		}
	}
	return errors.Join(errs...)
}

func (k *Kubelet) syncPod(ctx context.Context, object *corev1.Pod) error {
	switch {
	case object.Spec.NodeName == "":
		return k.schedule(ctx, object)
	case object.Spec.NodeName != nodeName:
		return nil
	}
	p, err := k.pod(object)
	if err != nil {
		return err
	}
	if object.DeletionTimestamp != nil {
		return p.terminate(ctx, object)
	}
	err = p.mount(ctx, object)
	if err == nil && !k.isHeld() && p.due(object) {
		err = p.start(ctx, object)
		if k.isHeld() { // since a moment ago: Crash did not see the process
			p.kill()
		}
	}
	return errors.Join(err, p.report(ctx, object, err))
}

// schedule binds a pod to the node if there is an address for it. The rest
// stays Pending, as on a node that is full.
func (k *Kubelet) schedule(ctx context.Context, object *corev1.Pod) error {
	if object.DeletionTimestamp != nil || k.freeAddress() == "" {
		return nil
	}
	if _, err := k.pod(object); err != nil { // takes the address
		return err
	}
	return k.cfg.Client.CoreV1().Pods(object.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: object.Name, UID: object.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
	}, metav1.CreateOptions{})
}

// pod returns the local state of a pod, with an address of its own.
func (k *Kubelet) pod(object *corev1.Pod) (*pod, error) {
	address := k.freeAddress()
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pods[object.UID]; p != nil {
		return p, nil
	}
	if address == "" {
		return nil, errors.New("no address is left")
	}
	p := &pod{cfg: k.cfg, name: object.Name, uid: object.UID, address: address}
	k.pods[object.UID] = p
	return p, nil
}

func (k *Kubelet) freeAddress() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.cfg.Addresses {
		taken := false
		for _, p := range k.pods {
			taken = taken || p.address == a
		}
		if !taken {
			return a
		}
	}
	return ""
}
