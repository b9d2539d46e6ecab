// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
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
	ErrTooLarge    = errors.New("too large")
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
	cause := withoutURLSecrets(e.Cause.Error())
	if e.Class != nil && !strings.HasPrefix(cause, e.Class.Error()) {
		s += e.Class.Error() + ": "
	}
	s += cause
	if r := e.remedy(); r != "" {
		s += ": " + r
	}
	return s
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Cause} }

func (e *Error) remedy() string {
	host := rewrite.RegistryHost(e.Repository)
	ecr := rewrite.IsECRHost(host)
	var unknownAuthority x509.UnknownAuthorityError
	switch {
	case e.Class == ErrAuth && ecr:
		return "check `aws sts get-caller-identity`, and that the role is allowed ecr:GetAuthorizationToken"
	case e.Class == ErrAuth:
		return "log in with `docker login " + host + "`"
	case e.Class == ErrDenied && ecr:
		return "the role lacks an IAM action on the repository; docs/guide/mirroring.md lists them"
	case e.Class == ErrDenied:
		return "the user lacks the permission; a private image requires `docker login " + host + "`"
	case e.Class == ErrThrottled && ecr:
		return "try again later, or request a higher quota"
	case e.Class == ErrThrottled:
		return "try again later, or run `docker login " + host + "` for a higher quota"
	case errors.As(e.Cause, &unknownAuthority):
		return "set SSL_CERT_FILE to a file with the certificate of the authority that signed that of the registry"
	case strings.Contains(e.Cause.Error(), "server gave HTTP response to HTTPS client"):
		return "use --plain-http " + host + " for a registry without TLS"
	}
	return ""
}

// WaitError reports that a registry asks to wait for longer than Options.MaxWait. Its
// class is ErrThrottled, and an immediate retry cannot succeed.
type WaitError struct {
	Host  string
	Until time.Time
}

func (e *WaitError) Error() string {
	return e.Host + " asks to come back at " + e.Until.Format(timeFormat)
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
	{errcode.ErrorCodeBlobUploadUnknown, ErrTransient}, // a new upload may succeed
	{errcode.ErrorCodeBlobUploadInvalid, ErrTransient},
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
func (c *Client) wrapError(err error, operation string, r *repository, name string) error {
	if err == nil {
		return nil
	}
	err = fromORAS(err)
	class := classify(err)
	if c.push && !r.isECR && isConcealed(err) {
		class = ErrNotFound
	}
	return &Error{Operation: operation, Repository: r.name, Name: name, Class: class, Cause: err}
}

// isConcealed reports whether a read was refused although the client has logged in: a
// registry may answer so for what does not exist. A rejected password is another
// case.
func isConcealed(err error) bool {
	var resp *ResponseError
	if !errors.As(err, &resp) || resp.Method != http.MethodHead && resp.Method != http.MethodGet || resp.authScheme == "" {
		return false
	}
	return resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized && resp.authScheme == "Bearer"
}

func classify(err error) error {
	var resp *ResponseError
	var wait *WaitError
	switch {
	case errors.As(err, &wait):
		return ErrThrottled
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return ErrAuth
	case errors.Is(err, ErrTransient):
		return ErrTransient // in spite of the response that it wraps
	case errors.Is(err, errdef.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, ErrCorrupt), errors.Is(err, content.ErrMismatchedDigest):
		return ErrCorrupt
	case errors.Is(err, ErrTooLarge), errors.Is(err, errdef.ErrSizeExceedsLimit):
		return ErrTooLarge
	case errors.As(err, &resp):
		return classifyResponse(resp)
	case isTransient(err):
		return ErrTransient
	}
	return nil
}

func classifyResponse(r *ResponseError) error {
	// ECR responds with DENIED to an expired token.
	if r.StatusCode == http.StatusUnauthorized || slices.ContainsFunc(r.Details, func(d ErrorDetail) bool { return strings.Contains(d.Message, "authorization token has expired") }) {
		return ErrAuth
	}
	for _, c := range errorCodes {
		if slices.ContainsFunc(r.Details, func(d ErrorDetail) bool {
			return d.Code == c.code || strings.Contains(d.Message, exceptionName(c.code))
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

// Retryable reports whether the operation may succeed when it is retried soon.
func Retryable(err error) bool {
	var wait *WaitError
	if errors.As(err, &wait) || isPullLimitError(err) {
		return false
	}
	return errors.Is(err, ErrTransient) || errors.Is(err, ErrThrottled) || errors.Is(err, ErrIncomplete) || isTransient(err)
}

func isPullLimitError(err error) bool {
	var resp *ResponseError
	return errors.As(err, &resp) && slices.ContainsFunc(resp.Details, ErrorDetail.isPullLimit)
}

var (
	errStalled   = errors.New("the transfer stalled")
	errNotStored = errors.New("the registry does not have what it accepted")
)
