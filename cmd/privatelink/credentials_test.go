// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

const (
	accountOfFake  = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	webIdentity    = "web-identity"
	containerToken = "container-token"
)

// sessions is AWS with credentials that end. It is the proxy of a run as well, since the
// registry protocol is spoken with the host of the registry.
type sessions struct {
	*httptest.Server
	ecr *fakeecr.Server

	mu    sync.Mutex
	uses  map[string]int // of the sessions, by their keys
	ended bool           // all sessions have ended
	lock  string         // object of S3, "" if there is none

	afterTag func() // called after a tag was written
}

// maxUses is how many requests may be sent with a session. It is more than are sent at the
// same time.
const maxUses = 8

func newSessions(t *testing.T, s fakeecr.Switches) *sessions {
	t.Helper()
	s.Direct = true
	a := &sessions{ecr: fakeecr.New(fakeecr.Options{Region: "us-east-1", Switches: s}), uses: map[string]int{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// staticKey is of a session that ends when a test ends it.
const staticKey = "AKIDSTATIC"

// use reports whether a request of a session is accepted, and counts it.
func (a *sessions) use(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.uses[key]++
	return !a.ended && (key == staticKey || a.uses[key] <= maxUses)
}

func (a *sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, signed := strings.Cut(scope, "/")
	expired := signed && !a.use(key)
	isECR := r.Header.Get("X-Amz-Target") != "" || r.Host == accountOfFake
	switch {
	case expired && strings.Contains(scope, "/s3/"):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>")
	case expired:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`)
	case isECR:
		a.ecr.ServeHTTP(w, r)
		if a.afterTag != nil && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/v1") {
			a.afterTag()
		}
	case r.URL.Path == "/container":
		if r.Header.Get("Authorization") != containerToken {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":"s","Token":"t","Expiration":%q}`, a.next(), past())
	case r.FormValue("Action") == "AssumeRoleWithWebIdentity":
		if r.FormValue("WebIdentityToken") != webIdentity {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>", a.next(), past())
	default:
		a.serveLock(w, r)
	}
}

// state calls f while no request changes the sessions.
func (a *sessions) state(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// next returns the key of a new session.
func (a *sessions) next() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprintf("AKIDTEST%d", len(a.uses))
	a.uses[key] = 0
	return key
}

// end ends all sessions.
func (a *sessions) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// past makes the SDK replace a session before each request.
func past() string { return time.Now().Add(-time.Second).UTC().Format(time.RFC3339) }

// serveLock serves one object of S3.
func (a *sessions) serveLock(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.Method == http.MethodPut:
		text, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.lock = string(text)
	case r.Method == http.MethodGet && a.lock == "":
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	case r.Method == http.MethodGet:
		fmt.Fprint(w, a.lock)
	}
}

// mirror runs the program with credentials from the environment.
func (a *sessions) mirror(t *testing.T, from, images, lockName string, credentials ...string) (output string, err error) {
	t.Helper()
	absent := filepath.Join(t.TempDir(), "absent")
	c := exec.CommandContext(t.Context(), os.Args[0], "mirror", "--registry", accountOfFake+"/castai", "--no-webhook-image", "-f", images, "--lock", lockName, "--parallel", "1",
		"--plain-http", from, "--plain-http", accountOfFake)
	c.Env = append(os.Environ(), asProgram+"=1", "HTTP_PROXY="+a.URL, "AWS_ENDPOINT_URL="+a.URL, "AWS_ENDPOINT_URL_STS="+a.URL, "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE="+absent, "AWS_SHARED_CREDENTIALS_FILE="+absent, "AWS_EC2_METADATA_DISABLED=true", "AWS_PROFILE=", "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=")
	c.Env = append(c.Env, credentials...)
	text, err := c.CombinedOutput()
	return string(text), err
}

var static = []string{"AWS_ACCESS_KEY_ID=" + staticKey, "AWS_SECRET_ACCESS_KEY=s", "AWS_SESSION_TOKEN=t"}

func images(t *testing.T) (from, file string) {
	t.Helper()
	from = public(t)
	var refs []string
	for _, name := range []string{"a", "b", "c", "d"} {
		refs = append(refs, from+"/castai/"+name+":v1")
	}
	return from, pods(t, refs...)
}

// Sessions that can be replaced are, while a run goes on.
func TestMirrorReplacesCredentials(t *testing.T) {
	token := write(t, "token", webIdentity)
	for name, credentials := range map[string]func(a *sessions) []string{
		"EKS Pod Identity, CodeBuild": func(a *sessions) []string {
			return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + a.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + containerToken}
		},
		"IRSA, GitLab": func(*sessions) []string {
			return []string{"AWS_ROLE_ARN=arn:aws:iam::123456789012:role/mirror", "AWS_WEB_IDENTITY_TOKEN_FILE=" + token}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSessions(t, fakeecr.Switches{TokenUses: 10})
			from, file := images(t)
			out, err := a.mirror(t, from, file, "s3://locks/castai.yaml", credentials(a)...)
			var sessions int
			var text string
			a.state(func() { sessions, text = len(a.uses), a.lock })
			if err != nil || !strings.Contains(out, "4 copied") || sessions <= maxUses {
				t.Errorf("%v, %d sessions\n%s", err, sessions, out)
			}
			if l, err := lock.Parse("lock", []byte(text)); err != nil || len(l.Images) != 4 || len(l.NotCopied) > 0 {
				t.Errorf("%v %+v", err, l)
			}
		})
	}
}

// A session that cannot be replaced ends the run. What was copied stays and is in the lock,
// and the next run goes on.
func TestMirrorWhenTheSessionEnds(t *testing.T) {
	a := newSessions(t, fakeecr.Switches{})
	from, file := images(t)
	locked := filepath.Join(t.TempDir(), "lock.yaml")
	var tags atomic.Int64
	a.afterTag = func() {
		if tags.Add(1) == 2 {
			a.end()
			a.ecr.Expire()
		}
	}
	out, err := a.mirror(t, from, file, locked, static...)
	for _, want := range []string{"ExpiredTokenException", "the AWS session has ended", "run the command again", "4 images: "} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, without %q\n%s", err, want, out)
		}
	}
	l, err := lock.Read(locked)
	if err != nil || len(l.Images) == 0 || len(l.NotCopied) == 0 || len(l.Images)+len(l.NotCopied) != 4 {
		t.Fatalf("%v %+v\n%s", err, l, out)
	}
	for _, i := range l.Images {
		path, _ := strings.CutPrefix(i.Target, accountOfFake+"/")
		if repository, tag, _ := strings.Cut(path, ":"); a.ecr.Tag(repository, tag) != i.Digest {
			t.Errorf("the lock has %s, and the registry %s", i.Target, a.ecr.Tag(repository, tag))
		}
	}
	a.state(func() { a.ended = false })
	if out, err := a.mirror(t, from, file, locked, static...); err != nil || !strings.Contains(out, "2 copied, 2 present before, 0 not copied") {
		t.Errorf("the next run: %v\n%s", err, out)
	}
}

// The lock is written last. If that is refused, the old one stays.
func TestMirrorWhenTheSessionEndsBeforeTheLock(t *testing.T) {
	a := newSessions(t, fakeecr.Switches{})
	from, file := images(t)
	const locked = "s3://locks/castai.yaml"
	if out, err := a.mirror(t, from, file, locked, static...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var before, after string
	a.state(func() { before = a.lock })
	a.ecr.Inject(fakeecr.Fault{Match: func(r fakeecr.Request) bool {
		if r.Action == fakeecr.BatchGetImage { // the first of what is read with the token
			a.end()
		}
		return false
	}})
	out, err := a.mirror(t, from, file, locked, static...)
	for _, want := range []string{locked, "ExpiredToken", "the AWS session has ended", "run the command again"} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, without %q\n%s", err, want, out)
		}
	}
	if a.state(func() { after = a.lock }); before == "" || after != before {
		t.Errorf("the lock was changed: %s", after)
	}
}
