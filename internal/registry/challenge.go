// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/url"
	"strings"
)

// challenge is one way to authenticate that a server offers.
type challenge struct {
	scheme string
	params map[string]string // names in lower case; nil for a challenge without parameters
}

// selectChallenge replaces the challenges of a response by the one that the client
// supports, because oras-go reads only the first. A bearer token is preferred,
// because its endpoint serves anonymous clients as well. The realm becomes absolute.
func selectChallenge(resp *http.Response) {
	all := parseChallenges(strings.Join(resp.Header.Values("WWW-Authenticate"), ", "))
	selected := ""
	for _, c := range all {
		switch {
		case strings.EqualFold(c.scheme, "Bearer"):
			realm, ok := resolveRealm(resp.Request.URL, c.params["realm"])
			if !ok {
				continue
			}
			selected = "Bearer realm=" + quote(realm)
			for _, name := range []string{"service", "scope"} {
				if v := c.params[name]; v != "" {
					selected += "," + name + "=" + quote(v)
				}
			}
		case strings.EqualFold(c.scheme, "Basic") && selected == "":
			selected = "Basic"
		}
		if strings.HasPrefix(selected, "Bearer") {
			break
		}
	}
	if selected != "" {
		resp.Header.Set("WWW-Authenticate", selected)
	}
}

// resolveRealm returns the URL of a token endpoint. Some registries send a path or
// omit the scheme: https://github.com/containers/skopeo/issues/1836. Credentials in
// the URL are dropped, since it appears in errors.
func resolveRealm(registry *url.URL, realm string) (string, bool) {
	if realm == "" {
		return "", false
	}
	if !strings.Contains(realm, "://") && !strings.HasPrefix(realm, "/") {
		realm = "//" + realm
	}
	u, err := registry.Parse(realm)
	if err != nil || u.Host == "" {
		return "", false
	}
	u.User = nil
	return u.String(), true
}

// quote returns a quoted string as oras-go reads it: with the escapes of Go.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// parseChallenges parses the value of WWW-Authenticate headers, joined by commas. A
// comma separates challenges as well as parameters of one challenge. What does not
// follow the grammar is skipped.
// https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
func parseChallenges(text string) (all []challenge) {
	for {
		text = strings.TrimLeft(text, " \t,")
		if text == "" {
			return all
		}
		word, rest := cutToken(text)
		if word == "" { // not a token: resume after the next comma
			_, text, _ = strings.Cut(text, ",")
			continue
		}
		value, afterValue, isParameter := cutValue(rest)
		switch {
		case isParameter && len(all) > 0:
			last := &all[len(all)-1]
			if last.params == nil {
				last.params = map[string]string{}
			}
			last.params[strings.ToLower(word)] = value
			text = afterValue
		case isParameter: // of no challenge
			text = afterValue
		default:
			all = append(all, challenge{scheme: word})
			text = skipToken68(rest)
		}
	}
}

// cutToken splits text after the token with which it starts.
// https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
func cutToken(text string) (token, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// cutValue splits text after the value of a parameter, "=token" or "=\"string\"". It
// returns false if there is none.
func cutValue(text string) (value, rest string, ok bool) {
	text = strings.TrimLeft(text, " \t")
	if !strings.HasPrefix(text, "=") {
		return "", "", false
	}
	text = strings.TrimLeft(text[1:], " \t")
	if !strings.HasPrefix(text, `"`) {
		// URLs are sent without quotes, although they are not tokens.
		end := strings.IndexAny(text, ", \t")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return b.String(), "", true
			}
		}
		b.WriteByte(text[i])
	}
	return b.String(), "", true // without an end
}

// token68 has the characters of a token68, before the padding.
const token68 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"

// skipToken68 skips the token68 that follows a scheme, such as that of Negotiate.
func skipToken68(text string) string {
	text = strings.TrimLeft(text, " \t")
	rest := strings.TrimLeft(text, token68)
	after := strings.TrimLeft(strings.TrimLeft(rest, "="), " \t")
	if rest != text && (after == "" || after[0] == ',') {
		return after
	}
	return text
}
