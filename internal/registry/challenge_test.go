// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestSelectChallenge(t *testing.T) {
	for name, tc := range map[string]struct {
		headers []string
		want    string
	}{
		"bearer":                           {[]string{`Bearer realm="https://a.example/token",service="s",scope="repository:x/a:pull,push"`}, `Bearer realm="https://a.example/token",service="s",scope="repository:x/a:pull,push"`},
		"basic":                            {[]string{`Basic realm="r"`}, `Basic`},
		"basic without realm":              {[]string{`Basic`}, `Basic`},
		"lower case":                       {[]string{`bearer REALM="https://a.example/token"`}, `Bearer realm="https://a.example/token"`},
		"negotiate first":                  {[]string{`Negotiate`, `Basic realm="r"`}, `Basic`},
		"negotiate in the same header":     {[]string{`Negotiate, Basic realm="r"`}, `Basic`},
		"negotiate with a token":           {[]string{`Negotiate YII=, Basic realm="r"`}, `Basic`},
		"negotiate with any token":         {[]string{`Negotiate AZaz09-._~+/==, Basic realm="r"`}, `Basic`},
		"a parameter of any name":          {[]string{"Bearer !#$%&'*+-.^_`|~aZ9=x, realm=\"https://a.example/token\""}, `Bearer realm="https://a.example/token"`},
		"a token named like a scheme":      {[]string{`Negotiate Basic`}, `Negotiate Basic`},
		"of several the first":             {[]string{`Bearer realm="https://a.example/token", Bearer realm="https://b.example/token"`}, `Bearer realm="https://a.example/token"`},
		"a realm that is no URL":           {[]string{`Bearer realm="https://a.example/%zz", Basic`}, `Basic`},
		"an empty value":                   {[]string{`Bearer realm=,service=s, Basic`}, `Basic`},
		"what is no token":                 {[]string{`@x, Basic realm="r"`}, `Basic`},
		"negotiate last":                   {[]string{`Basic realm="r", Negotiate`}, `Basic`},
		"bearer is preferred":              {[]string{`Basic realm="r", Bearer realm="https://a.example/token"`}, `Bearer realm="https://a.example/token"`},
		"bearer without realm, then basic": {[]string{`Bearer error="x"`, `Basic`}, `Basic`},
		"a comma in a string":              {[]string{`Digest qop="auth, Basic x=", Bearer realm="https://a.example/token"`}, `Bearer realm="https://a.example/token"`},
		"an escaped quote":                 {[]string{`Digest realm="a\" , Basic", Bearer realm="https://a.example/token"`}, `Bearer realm="https://a.example/token"`},
		"spaces around =":                  {[]string{`Bearer realm = "https://a.example/token" , service = s`}, `Bearer realm="https://a.example/token",service="s"`},
		"a realm without quotes":           {[]string{`Bearer realm=https://a.example/token,service=s`}, `Bearer realm="https://a.example/token",service="s"`},
		"a path":                           {[]string{`Bearer realm="/token"`}, `Bearer realm="https://r.example:5000/token"`},
		"a realm without scheme":           {[]string{`Bearer realm="a.example/token"`}, `Bearer realm="https://a.example/token"`},
		"a realm with a password":          {[]string{`Bearer realm="https://user:secret@a.example/token"`}, `Bearer realm="https://a.example/token"`},
		"no known scheme":                  {[]string{`Negotiate`}, `Negotiate`},
		"nothing":                          {nil, ``},
	} {
		t.Run(name, func(t *testing.T) {
			resp := &http.Response{Header: http.Header{"Www-Authenticate": tc.headers}, Request: httptest.NewRequest(http.MethodGet, "https://r.example:5000/v2/", nil)}
			selectChallenge(resp)
			if got := resp.Header.Get("WWW-Authenticate"); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, seed := range []string{`Basic realm="r", Bearer realm="https://a.example/token",service=s`, `Negotiate YII==`, `Bearer realm="`, `a=b, Basic`, `,,"\`, `Digest realm="a\"`} {
		f.Add(seed)
	}
	registry, err := url.Parse("https://r.example/v2/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range parseChallenges(text) {
			if c.scheme == "" || !strings.Contains(text, c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
			if realm, ok := resolveRealm(registry, c.params["realm"]); ok {
				u, err := url.Parse(realm)
				if err != nil || u.Host == "" || u.User != nil {
					t.Errorf("realm %q: %v", realm, err)
				}
			}
		}
	})
}
