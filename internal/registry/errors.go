// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Classes of errors, for errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrAuth        = errors.New("not authenticated")
	ErrDenied      = errors.New("not allowed")
	ErrThrottled   = errors.New("throttled")
	ErrImmutable   = errors.New("the tag is immutable and refers to another image")
	ErrCorrupt     = errors.New("corrupt: the content does not match its digest")
	ErrIncomplete  = errors.New("content that the manifest refers to is missing from the registry")
	ErrUnsupported = errors.New("not supported by the registry")
	ErrTransient   = errors.New("the registry or the connection to it failed")
)

// Error is a failed request to a registry.
type Error struct {
	Operation  string // such as "reading"
	Repository string
	Name       string // tag or digest
	Class      error  // one of the classes above, or nil
	Cause      error
}

func (e *Error) Error() string {
	what := e.Repository
	if strings.Contains(e.Name, ":") {
		what += "@" + e.Name
	} else if e.Name != "" {
		what += ":" + e.Name
	}
	s := e.Operation + " " + what + ": "
	if e.Class != nil {
		s += e.Class.Error() + ": "
	}
	s += e.Cause.Error()
	if r := e.remedy(); r != "" {
		s += "; " + r
	}
	return s
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Cause} }

func (e *Error) remedy() string {
	host := rewrite.RegistryHost(e.Repository)
	ecr := rewrite.IsECRHost(host)
	switch {
	case e.Class == ErrAuth && ecr:
		return "check `aws sts get-caller-identity`, and that the role is allowed ecr:GetAuthorizationToken"
	case e.Class == ErrAuth:
		return "log in with `docker login " + host + "`"
	case e.Class == ErrDenied && ecr:
		return "the role lacks an IAM action on the repository; docs/guide/mirroring.md lists them"
	case e.Class == ErrDenied:
		return "the user lacks the permission; a private image requires `docker login " + host + "`"
	case e.Class == ErrThrottled:
		return "try again later, or request a higher quota"
	}
	return ""
}

// errorCodes are the codes of response bodies that are more specific than the
// status, in order of precedence.
var errorCodes = []struct {
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

// wrapError adds the operation, its object and the class; nil stays nil.
func wrapError(err error, operation, repository, name string) error {
	if err == nil {
		return nil
	}
	return &Error{Operation: operation, Repository: repository, Name: name, Class: classify(err), Cause: err}
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
	case isTransient(err):
		return ErrTransient
	}
	return nil
}

func classifyResponse(r *errcode.ErrorResponse) error {
	// ECR responds with DENIED to an expired token.
	if r.StatusCode == http.StatusUnauthorized || slices.ContainsFunc(r.Errors, func(e errcode.Error) bool { return strings.Contains(e.Message, "authorization token has expired") }) {
		return ErrAuth
	}
	for _, c := range errorCodes {
		if slices.ContainsFunc(r.Errors, func(e errcode.Error) bool {
			return e.Code == c.code || strings.Contains(e.Message, exceptionName(c.code))
		}) {
			return c.class
		}
	}
	switch s := r.StatusCode; {
	case s == http.StatusNotFound:
		return ErrNotFound
	case s == http.StatusForbidden:
		return ErrDenied
	case s == http.StatusTooManyRequests:
		return ErrThrottled
	case s == http.StatusMethodNotAllowed:
		return ErrUnsupported
	case s == http.StatusRequestedRangeNotSatisfiable, isTransientStatus(s):
		return ErrTransient
	}
	return nil
}

// exceptionName returns a code as it appears in messages of ECR, such as
// ImageTagAlreadyExistsException.
func exceptionName(code string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(code, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String() + "Exception"
}

// Retryable reports whether the operation may succeed when it is retried.
func Retryable(err error) bool {
	return errors.Is(err, ErrTransient) || errors.Is(err, ErrThrottled) || errors.Is(err, ErrIncomplete) || isTransient(err)
}

// isRefusal reports whether the registry rejected the request as such. Registries
// that do not support mounts may do so.
func isRefusal(err error) bool {
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

var errStalled = errors.New("the download stalled")
