// SPDX-License-Identifier: Apache-2.0

package textreport

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/target"
)

func TestHeader(t *testing.T) {
	for name, tc := range map[string]struct {
		header Header
		want   string
	}{
		"nothing is known":   {Header{}, ""},
		"the program alone":  {Header{Program: "privatelink check v1"}, "privatelink check v1\n"},
		"inside a pod":       {Header{Target: target.Target{Server: "https://10.0.0.1:443"}}, "server    https://10.0.0.1:443\n"},
		"a registry":         {Header{"privatelink mirror v1", target.Target{Registry: "r.example.com/castai"}}, "privatelink mirror v1\nregistry  r.example.com/castai\n"},
		"an account":         {Header{Target: target.Target{Account: "123456789012"}}, "AWS       account 123456789012\n"},
		"control characters": {Header{"p\x1b[2K", target.Target{Cluster: "a\nNext: nothing"}}, `p\x1b[2K` + "\n" + `AWS       a\nNext: nothing` + "\n"},
		"an EKS cluster": {
			Header{"privatelink doctor v1", target.Target{Context: "admin", Server: "https://x.eks.amazonaws.com", Cluster: "prod", Account: "123456789012", Region: "eu-central-1", Registry: "r/castai"}},
			"privatelink doctor v1\ncontext   admin\nserver    https://x.eks.amazonaws.com\nAWS       prod, eu-central-1, account 123456789012\nregistry  r/castai\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			if err := tc.header.Write(&got); err != nil || got.String() != tc.want {
				t.Errorf("%q (%v), want %q", &got, err, tc.want)
			}
		})
	}
}

func TestGroupAndNext(t *testing.T) {
	var got strings.Builder
	if err := errors.Join(WriteGroup(&got, "images"), WriteNext(&got, Faulty, "copy it\nagain")); err != nil {
		t.Fatal(err)
	}
	if want := "\nIMAGES\nNext: copy it\\nagain\n"; got.String() != want {
		t.Errorf("%q, want %q", &got, want)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteErrorsAreReturned(t *testing.T) {
	for name, err := range map[string]error{
		"header": Header{Program: "p"}.Write(failing{}), "group": WriteGroup(failing{}, "g"), "next": WriteNext(failing{}, Nothing, "nothing to do"),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
