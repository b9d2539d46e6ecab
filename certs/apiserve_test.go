// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

func event(kind string, object any) []byte {
	b, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const secrets = "/api/v1/namespaces/" + namespace + "/secrets"
	const configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	resource := "secrets"
	if strings.HasPrefix(r.URL.Path, configurations) {
		resource = "mutatingwebhookconfigurations"
	}
	if r.Method == http.MethodGet && a.onGet != nil {
		a.onGet(resource)
	}
	if r.Method == http.MethodGet && a.onGot != nil {
		defer func() { a.onGot(resource) }() // what was written until then is still in a buffer
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		panic(http.ErrAbortHandler)
	}
	if a.forbid[r.Method+" "+resource] {
		fail(w, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, configuration, fmt.Errorf("no rule allows it")))
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET " + secrets:
		if r.URL.Query().Get("fieldSelector") != "metadata.name="+secretName {
			a.deny(w, r)
		} else if r.URL.Query().Get("watch") != "" {
			a.watch(w, r)
		} else {
			answer(w, corev1.SecretList{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"},
				ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(a.version)}, Items: []corev1.Secret{*a.secret},
			})
		}
	case "GET " + secrets + "/" + secretName:
		answer(w, a.secret)
	case "PUT " + secrets + "/" + secretName:
		a.putSecret(w, r)
	case "GET " + configurations + "/" + configuration:
		if a.config == nil {
			fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, configuration))
			return
		}
		answer(w, a.config)
	case "PATCH " + configurations + "/" + configuration:
		a.patch(w, r)
	default:
		a.deny(w, r)
	}
}

func (a *api) deny(w http.ResponseWriter, r *http.Request) {
	a.denied = append(a.denied, r.Method+" "+r.URL.String())
	fail(w, apierrors.NewForbidden(schema.GroupResource{Resource: "any"}, r.URL.Path, fmt.Errorf("no rule allows it")))
}

func (a *api) conflict(w http.ResponseWriter, name string) {
	a.conflicts++
	fail(w, apierrors.NewConflict(schema.GroupResource{}, name, fmt.Errorf("the object has been modified")))
}

func (a *api) putSecret(w http.ResponseWriter, r *http.Request) {
	var s corev1.Secret
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.ResourceVersion != a.secret.ResourceVersion {
		a.conflict(w, secretName)
		return
	}
	a.keepSecret(&s)
	answer(w, s)
}

func (a *api) patch(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var patch map[string]any
	if err := json.Unmarshal(body, &patch); err != nil || r.Header.Get("Content-Type") != string(types.StrategicMergePatchType) {
		http.Error(w, fmt.Sprint("strategic merge patch wanted: ", err), http.StatusUnsupportedMediaType)
		return
	}
	a.patches = append(a.patches, patch)
	if a.config == nil {
		fail(w, apierrors.NewNotFound(schema.GroupResource{}, configuration))
		return
	}
	before, err := json.Marshal(a.config)
	var after []byte
	if err == nil {
		after, err = strategicpatch.StrategicMergePatch(before, body, a.config)
	}
	cfg := &arv1.MutatingWebhookConfiguration{}
	if err == nil {
		err = json.Unmarshal(after, cfg)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if cfg.ResourceVersion != a.config.ResourceVersion {
		a.conflict(w, configuration)
		return
	}
	a.store(a.config, cfg, r.URL.Query().Get("fieldManager"))
	answer(w, a.config)
}

// watch streams the Secret. It is called with the lock and gives it back at the end.
func (a *api) watch(w http.ResponseWriter, r *http.Request) {
	q, events := r.URL.Query(), make(chan []byte, 1000)
	if q.Get("sendInitialEvents") == "true" {
		events <- event("ADDED", a.secret)
		events <- event("BOOKMARK", &corev1.Secret{TypeMeta: a.secret.TypeMeta, ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: strconv.Itoa(a.version), Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}})
	} else if q.Get("resourceVersion") != strconv.Itoa(a.version) {
		events <- event("MODIFIED", a.secret)
	}
	a.watchers[events] = true
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for r.Context().Err() == nil {
		_ = http.NewResponseController(w).Flush()
		select {
		case e := <-events:
			_, _ = w.Write(e)
		case <-r.Context().Done():
		}
	}
	a.mu.Lock()
	delete(a.watchers, events)
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func fail(w http.ResponseWriter, err *apierrors.StatusError) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(err.ErrStatus.Code))
	_ = json.NewEncoder(w).Encode(err.ErrStatus)
}
