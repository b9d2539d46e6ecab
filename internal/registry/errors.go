// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// What can go wrong, for errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrAuth        = errors.New("not authenticated")
	ErrDenied      = errors.New("not allowed")
	ErrThrottled   = errors.New("throttled")
	ErrImmutable   = errors.New("the tag is immutable and stands for another image")
	ErrCorrupt     = errors.New("corrupt: the content does not match its digest")
	ErrIncomplete  = errors.New("the registry misses something that the manifest names")
	ErrUnsupported = errors.New("the registry does not take it")
	ErrTransient   = errors.New("the registry or the way to it failed")
)

// Error is a failed request to a registry.
type Error struct {
	Doing      string // such as "reading"
	Repository string
	Name       string // tag or digest
	Class      error  // one of the above, or nil
	Cause      error
}

func (e *Error) Error() string {
	what := e.Repository
	if strings.Contains(e.Name, ":") {
		what += "@" + e.Name
	} else if e.Name != "" {
		what += ":" + e.Name
	}
	s := e.Doing + " " + what + ": "
	if e.Class != nil {
		s += e.Class.Error() + ": "
	}
	s += e.Cause.Error()
	if r := e.remedy(); r != "" {
		s += "; " + r
	}
	return s
}

// Unwrap gives the class, and what it was made of.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Cause} }

func (e *Error) remedy() string {
	host := rewrite.RegistryHost(e.Repository)
	ecr := rewrite.IsECRHost(host)
	switch {
	case e.Class == ErrAuth && ecr:
		return "check `aws sts get-caller-identity`, and that the role may ecr:GetAuthorizationToken"
	case e.Class == ErrAuth:
		return "log in with `docker login " + host + "`"
	case e.Class == ErrDenied && ecr:
		return "the role lacks an IAM action on the repository; docs/guide/mirroring.md lists them"
	case e.Class == ErrDenied:
		return "the account may not do this there; a private image needs `docker login " + host + "`"
	case e.Class == ErrThrottled:
		return "try again later, or ask for a higher quota"
	}
	return ""
}

// codes of error bodies, where they say more than the status.
var codes = []struct {
	code  string
	class error
}{
	{"TOOMANYREQUESTS", ErrThrottled},
	{errcode.ErrorCodeManifestBlobUnknown, ErrIncomplete},
	{errcode.ErrorCodeBlobUnknown, ErrIncomplete},
	{"LAYERS_NOT_FOUND", ErrIncomplete},
	{"REFERENCED_IMAGES_NOT_FOUND", ErrIncomplete},
	{"TAG_INVALID", ErrImmutable},
	{"IMAGE_TAG_ALREADY_EXISTS", ErrImmutable},
	{"IMAGE_ALREADY_EXISTS", ErrImmutable},
	{errcode.ErrorCodeDigestInvalid, ErrCorrupt},
	{errcode.ErrorCodeUnauthorized, ErrAuth},
	{errcode.ErrorCodeDenied, ErrDenied},
	{errcode.ErrorCodeNameUnknown, ErrNotFound},
	{errcode.ErrorCodeManifestUnknown, ErrNotFound},
	{errcode.ErrorCodeUnsupported, ErrUnsupported},
}

// explain says what failed and classifies it; nil stays nil.
func explain(err error, doing, repository, name string) error {
	if err == nil {
		return nil
	}
	return &Error{Doing: doing, Repository: repository, Name: name, Class: classify(err), Cause: err}
}

func classify(err error) error {
	var resp *errcode.ErrorResponse
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData), errors.Is(err, content.ErrInvalidDescriptorSize), errors.Is(err, ErrCorrupt):
		return ErrCorrupt
	case errors.As(err, &resp):
		return classifyResponse(resp)
	case passing(err):
		return ErrTransient
	}
	return nil
}

func classifyResponse(r *errcode.ErrorResponse) error {
	// ECR says DENIED of a token that has expired.
	if r.StatusCode == http.StatusUnauthorized || slices.ContainsFunc(r.Errors, func(e errcode.Error) bool { return strings.Contains(e.Message, "authorization token has expired") }) {
		return ErrAuth
	}
	for _, c := range codes {
		if slices.ContainsFunc(r.Errors, func(e errcode.Error) bool { return e.Code == c.code || strings.Contains(e.Message, ecrName(c.code)) }) {
			return c.class
		}
	}
	switch s := r.StatusCode; {
	case s == http.StatusNotFound:
		return ErrNotFound
	case s == http.StatusUnauthorized:
		return ErrAuth
	case s == http.StatusForbidden:
		return ErrDenied
	case s == http.StatusTooManyRequests:
		return ErrThrottled
	case s == http.StatusMethodNotAllowed:
		return ErrUnsupported
	case s == http.StatusRequestedRangeNotSatisfiable, passingStatus(s):
		return ErrTransient
	}
	return nil
}

// ecrName is how ECR's texts spell a code: ImageTagAlreadyExistsException.
func ecrName(code string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(code, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String() + "Exception"
}

// Retryable tells whether another try can help.
func Retryable(err error) bool {
	return errors.Is(err, ErrTransient) || errors.Is(err, ErrThrottled) || errors.Is(err, ErrIncomplete) || passing(err)
}

// refusal tells of an answer that says no to the request as such. A registry that
// does not know mounting may answer so.
func refusal(err error) bool {
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) {
		return errors.Is(err, errdef.ErrNotFound)
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

var errStalled = fmt.Errorf("no byte arrived for too long")
