// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var ciFolder = filepath.Join("..", "..", "deploy", "mirror", "ci")

// readCI reads an example of a pipeline or a policy.
func readCI[T any](t *testing.T, name string) (document T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(ciFolder, name))
	if err == nil {
		err = yaml.Unmarshal(text, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// checkScript requires that lines have one command of ours, with flags that exist, and that
// the download is compared with its checksum before it is unpacked.
func checkScript(t *testing.T, lines []string, env map[string]string) {
	t.Helper()
	commands, checked, unpacked := 0, -1, -1
	for n, line := range lines {
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "sha256sum"):
			checked = n
		case strings.HasPrefix(line, "tar "):
			unpacked = n
		}
		args := strings.Fields(os.Expand(strings.ReplaceAll(line, `"`, ""), func(name string) string { return env[name] }))
		if len(args) == 0 || args[0] != "privatelink" {
			continue
		}
		commands++
		c, rest, err := newRoot(func(string) string { return "" }).Find(args[1:])
		if err == nil {
			err = c.ParseFlags(rest)
		}
		if err != nil || c.Name() != "mirror" {
			t.Errorf("%s: %v", line, err)
			continue
		}
		for _, flag := range []string{"track", "lock", "expect-role"} {
			if f := c.Flags().Lookup(flag); !f.Changed || f.Value.String() == "" {
				t.Errorf("%s: --%s has no value", line, flag)
			}
		}
	}
	if commands != 1 || checked < 0 || unpacked < checked {
		t.Errorf("%d commands, checked in line %d and unpacked in line %d of %q", commands, checked, unpacked, lines)
	}
}

func TestGitHubWorkflow(t *testing.T) {
	type step struct {
		Uses, Run string
		With      map[string]any
	}
	w := readCI[struct {
		Permissions map[string]string
		Concurrency struct {
			Group  string
			Cancel bool `json:"cancel-in-progress"`
		}
		Jobs map[string]struct {
			Timeout     int `json:"timeout-minutes"`
			Permissions map[string]string
			Env         map[string]string
			Steps       []step
		}
	}](t, "github.yaml")
	job := w.Jobs["mirror"]
	if len(w.Permissions) > 0 || len(job.Permissions) != 2 || job.Permissions["contents"] != "read" || job.Permissions["id-token"] != "write" {
		t.Errorf("permissions %v and %v", w.Permissions, job.Permissions)
	}
	if w.Concurrency.Group == "" || strings.Contains(w.Concurrency.Group, "${{") || w.Concurrency.Cancel {
		t.Errorf("runs are not one after the other: %+v", w.Concurrency)
	}
	var lines []string
	for _, s := range job.Steps {
		lines = append(lines, strings.Split(s.Run, "\n")...)
		if s.Uses != "" && !regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`).MatchString(s.Uses) {
			t.Errorf("%s is not pinned by commit", s.Uses)
		}
		if seconds, ok := s.With["role-duration-seconds"].(float64); ok && job.Timeout*60 >= int(seconds) {
			t.Errorf("a job of %d minutes, and a session of %v seconds", job.Timeout, seconds)
		}
	}
	checkScript(t, lines, job.Env)
}

func TestGitLabPipeline(t *testing.T) {
	job := readCI[map[string]struct {
		Group     string `json:"resource_group"`
		Timeout   string
		Variables map[string]string
		Tokens    map[string]struct{ Aud string } `json:"id_tokens"`
		Script    []string
	}](t, "gitlab.yaml")["mirror"]
	if job.Group == "" || job.Timeout != "55m" || job.Tokens["AWS_TOKEN"].Aud != "sts.amazonaws.com" {
		t.Errorf("%+v", job)
	}
	// What the SDK of AWS needs for a web identity.
	for _, name := range []string{"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION"} {
		if job.Variables[name] == "" {
			t.Errorf("the variable %s is not set", name)
		}
	}
	if !strings.Contains(job.Script[0], `"$AWS_TOKEN" > "$AWS_WEB_IDENTITY_TOKEN_FILE"`) {
		t.Errorf("the token is not written first: %s", job.Script[0])
	}
	checkScript(t, job.Script, job.Variables)
}

func TestPipelinesHaveNoKeys(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(ciFolder, "*"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%q %v", files, err)
	}
	key := regexp.MustCompile(`(?i)access.?key|secrets\.|AKIA|ASIA|session.?token|password`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := key.Find(text); found != nil {
			t.Errorf("%s has %q", file, found)
		}
	}
}

// trust is a trust policy for web identities.
type trust struct {
	Statement []struct {
		Effect, Action string
		Condition      map[string]map[string]any
	}
}

// accepts reports whether the policy accepts a token of an issuer with these claims.
func (p trust) accepts(t *testing.T, issuer, aud, sub string) bool {
	t.Helper()
	if len(p.Statement) != 1 || p.Statement[0].Action != "sts:AssumeRoleWithWebIdentity" || len(p.Statement[0].Condition) != 1 {
		t.Fatalf("%+v", p)
	}
	equals := p.Statement[0].Condition["StringEquals"]
	for key, claim := range map[string]string{issuer + ":aud": aud, issuer + ":sub": sub} {
		values, isList := equals[key].([]any)
		if !isList {
			values = []any{equals[key]}
		}
		if !slices.Contains(values, any(claim)) {
			return false
		}
	}
	return true
}

// Only the default branch of the one repository gets the role.
func TestTrustPoliciesOfPipelines(t *testing.T) {
	const github, gitlab = "token.actions.githubusercontent.com", "gitlab.com"
	for name, tc := range map[string]struct {
		file, issuer, aud, sub string
		want                   bool
	}{
		"GitHub, with numeric IDs":          {"github", github, "sts.amazonaws.com", "repo:ORGANIZATION@1234567/REPOSITORY@7654321:ref:refs/heads/main", true},
		"GitHub, an older repository":       {"github", github, "sts.amazonaws.com", "repo:ORGANIZATION/REPOSITORY:ref:refs/heads/main", true},
		"GitHub, a pull request":            {"github", github, "sts.amazonaws.com", "repo:ORGANIZATION/REPOSITORY:pull_request", false},
		"GitHub, another branch":            {"github", github, "sts.amazonaws.com", "repo:ORGANIZATION/REPOSITORY:ref:refs/heads/main2", false},
		"GitHub, another repository":        {"github", github, "sts.amazonaws.com", "repo:ORGANIZATION/REPOSITORY2:ref:refs/heads/main", false},
		"GitHub, the name of a deleted one": {"github", github, "sts.amazonaws.com", "repo:ORGANIZATION@1/REPOSITORY@2:ref:refs/heads/main", false},
		"GitHub, another audience":          {"github", github, "https://github.com/ORGANIZATION", "repo:ORGANIZATION/REPOSITORY:ref:refs/heads/main", false},
		"GitLab":                            {"gitlab", gitlab, "sts.amazonaws.com", "project_path:GROUP/PROJECT:ref_type:branch:ref:main", true},
		"GitLab, a tag":                     {"gitlab", gitlab, "sts.amazonaws.com", "project_path:GROUP/PROJECT:ref_type:tag:ref:main", false},
		"GitLab, a fork":                    {"gitlab", gitlab, "sts.amazonaws.com", "project_path:OTHER/PROJECT:ref_type:branch:ref:main", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := readCI[trust](t, "trust-"+tc.file+".json").accepts(t, tc.issuer, tc.aud, tc.sub); got != tc.want {
				t.Errorf("accepted: %t", got)
			}
		})
	}
}
