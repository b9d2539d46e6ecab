// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// loginEnvironment makes an empty directory the only one with credential files and
// helpers.
func loginEnvironment(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, value := range map[string]string{"DOCKER_CONFIG": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "run"), "REGISTRY_AUTH_FILE": "",
		"PATH": dir + string(os.PathListSeparator) + os.Getenv("PATH")} {
		t.Setenv(name, value)
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func basic(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestDockerLogins(t *testing.T) {
	helpers := map[string]string{
		"good":    `echo '{"Username":"helped","Secret":"secret-1"}'`,
		"token":   `echo '{"Username":"<token>","Secret":"secret-1"}'`,
		"empty":   `echo 'credentials not found in native keychain'; exit 1`,
		"failing": `echo 'secret-1'; exit 1`,
		"noisy":   `echo 'update available' >&2; echo '{"Username":"helped","Secret":"secret-1"}'`,
		"chatty":  `echo 'secret-1: update available'; echo '{"Username":"helped","Secret":"secret-1"}'`,
	}
	for name, tc := range map[string]struct {
		config   string // %s: a valid auth
		want     auth.Credential
		wantText string // of the error
	}{
		"auths":                        {`{"auths":{"r.example":{"auth":"%s"}}}`, auth.Credential{Username: "user", Password: "pass:word"}, ""},
		"auths by URL":                 {`{"auths":{"https://r.example/v1/":{"auth":"%s"}}}`, auth.Credential{Username: "user", Password: "pass:word"}, ""},
		"username and password":        {`{"auths":{"r.example":{"username":"user","password":"p"}}}`, auth.Credential{Username: "user", Password: "p"}, ""},
		"an identity token":            {`{"auths":{"r.example":{"identitytoken":"t"}}}`, auth.Credential{RefreshToken: "t"}, ""},
		"a registry token":             {`{"auths":{"r.example":{"registrytoken":"t"}}}`, auth.Credential{AccessToken: "t"}, ""},
		"a final newline":              {`{"auths":{"r.example":{"auth":"` + basic("user:pass\n") + `"}}}`, auth.Credential{Username: "user", Password: "pass"}, ""},
		"a final carriage return":      {`{"auths":{"r.example":{"auth":"` + basic("user:pass\r\n") + `"}}}`, auth.Credential{Username: "user", Password: "pass"}, ""},
		"no entry":                     {`{"auths":{"other.example":{"auth":"%s"}}}`, auth.EmptyCredential, ""},
		"an empty file":                {``, auth.EmptyCredential, ""},
		"a helper":                     {`{"credHelpers":{"r.example":"good"}}`, auth.Credential{Username: "helped", Password: "secret-1"}, ""},
		"a helper with a token":        {`{"credHelpers":{"r.example":"token"}}`, auth.Credential{RefreshToken: "secret-1"}, ""},
		"a store":                      {`{"credsStore":"good"}`, auth.Credential{Username: "helped", Password: "secret-1"}, ""},
		"an empty store":               {`{"credsStore":"empty","auths":{"r.example":{"auth":"%s"}}}`, auth.Credential{Username: "user", Password: "pass:word"}, ""},
		"an empty store alone":         {`{"credsStore":"empty","auths":{"r.example":{}}}`, auth.EmptyCredential, ""},
		"a failing store":              {`{"credsStore":"failing","auths":{"r.example":{"auth":"%s"}}}`, auth.Credential{Username: "user", Password: "pass:word"}, ""},
		"a missing store":              {`{"credsStore":"absent","auths":{"r.example":{"auth":"%s"}}}`, auth.Credential{Username: "user", Password: "pass:word"}, ""},
		"a missing store alone":        {`{"credsStore":"absent"}`, auth.EmptyCredential, "docker-credential-absent cannot be run"},
		"a failing helper":             {`{"credHelpers":{"r.example":"failing"}}`, auth.EmptyCredential, "docker-credential-failing failed"},
		"a failing helper comes first": {`{"credHelpers":{"r.example":"failing"},"auths":{"r.example":{"auth":"secret-1!"}}}`, auth.EmptyCredential, "docker-credential-failing failed"},
		"messages on standard error":   {`{"credHelpers":{"r.example":"noisy"}}`, auth.Credential{Username: "helped", Password: "secret-1"}, ""},
		"a chatty helper":              {`{"credHelpers":{"r.example":"chatty"}}`, auth.EmptyCredential, "docker-credential-chatty printed something other than credentials to standard output"},
		"an entry without a colon":     {`{"auths":{"r.example":{"auth":"` + basic("secret-1") + `"}}}`, auth.EmptyCredential, "the entry of r.example is not valid"},
		"an entry that is not base64":  {`{"auths":{"r.example":{"auth":"secret-1!"}}}`, auth.EmptyCredential, "the entry of r.example is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := loginEnvironment(t)
			for helper, script := range helpers {
				writeFile(t, filepath.Join(dir, "docker-credential-"+helper), "#!/bin/sh\n"+script+"\n")
			}
			writeFile(t, filepath.Join(dir, "config.json"), strings.Replace(tc.config, "%s", basic("user:pass:word"), 1))
			logins, err := ReadDockerLogins()
			if err != nil {
				t.Fatal(err)
			}
			got, err := logins.Credential(t.Context(), "r.example")
			if got != tc.want || (err == nil) != (tc.wantText == "") || !strings.Contains(fmt.Sprint(err), tc.wantText) {
				t.Errorf("Credential() = %v, %v; want %v, %q", got, err, tc.want, tc.wantText)
			}
			if strings.Contains(fmt.Sprint(err), "secret-1") {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
}

func TestDockerHubLogins(t *testing.T) {
	for _, key := range []string{"https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"} {
		writeFile(t, filepath.Join(loginEnvironment(t), "config.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, basic("user:pass")))
		logins, err := ReadDockerLogins()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := logins.Credential(t.Context(), "registry-1.docker.io"); err != nil || got.Username != "user" {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
}

func TestLoginFiles(t *testing.T) {
	dir := loginEnvironment(t)
	entry := func(user string) string {
		return fmt.Sprintf(`{"auths":{"r.example":{"auth":%q}}}`, basic(user+":pass"))
	}
	want := func(user string) {
		t.Helper()
		logins, err := ReadDockerLogins()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := logins.Credential(t.Context(), "r.example"); err != nil || got.Username != user {
			t.Errorf("user %q, %v; want %q", got.Username, err, user)
		}
	}
	want("")
	writeFile(t, filepath.Join(dir, "run", "containers", "auth.json"), entry("podman"))
	want("podman")
	writeFile(t, filepath.Join(dir, "config.json"), entry("docker"))
	want("docker")
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(dir, "none.json"))
	want("docker")
	writeFile(t, filepath.Join(dir, "none.json"), entry("file"))
	want("file")
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("HOME", filepath.Join(dir, "home"))
	t.Setenv("REGISTRY_AUTH_FILE", "")
	writeFile(t, filepath.Join(dir, "home", ".docker", "config.json"), entry("home"))
	want("home")

	writeFile(t, filepath.Join(dir, "home", ".docker", "config.json"), `{"auths": "secret`)
	if _, err := ReadDockerLogins(); err == nil || !strings.Contains(err.Error(), "DOCKER_CONFIG") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
