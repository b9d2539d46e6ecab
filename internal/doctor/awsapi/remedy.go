// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// Unknown returns the finding for an error that NewError made or that wraps one.
func Unknown(err error) doctor.Finding { return doctor.Unknownf(Remedy(err), "%v", err) }

// Remedy returns the next step after a failed request. An error of ours may have its
// own, in a method Remedy.
func Remedy(err error) string {
	var own interface {
		error
		Remedy() string
	}
	if errors.As(err, &own) {
		return own.Remedy()
	}
	text := err.Error()
	if request, ok := errors.AsType[*Error](err); ok {
		text = request.Err.Error() // with how the SDK got to it
	}
	if remedy := remedyForCredentials(text); remedy != "" {
		return remedy
	}
	switch code := Code(err); {
	case isSkewed(code, text):
		return "set the clock of this machine: AWS accepts signatures that are at most 5 minutes old (timedatectl set-ntp true)"
	case isDenied(code):
		if remedy, isKnown := DenialRemedy(action(err), text); isKnown {
			return remedy
		}
		return "the caller needs " + action(err) + "; see aws sts get-caller-identity, or use another --profile"
	case isUnauthenticated(code):
		return "log in to AWS again (aws sso login, or new access keys), and check with aws sts get-caller-identity"
	case isThrottled(code):
		return "AWS limits the rate of requests of the account: wait a minute, and run it again; --only selects fewer checks"
	case code != "":
		return "try again; aws sts get-caller-identity shows whether AWS responds at all"
	case strings.Contains(text, "proxyconnect"):
		return "the proxy of HTTPS_PROXY does not respond: correct or unset it, or add amazonaws.com to NO_PROXY"
	case errors.Is(err, context.DeadlineExceeded):
		return "packets to AWS are dropped: check the VPN, HTTPS_PROXY and the firewall; a VPC without internet access needs an endpoint for each service that is called"
	}
	return "run it where the AWS APIs can be reached: a VPC without internet access needs an endpoint for each service that is called"
}

// action returns the IAM action of a failed request.
func action(err error) string {
	if request, ok := errors.AsType[*Error](err); ok {
		return request.Action
	}
	return "the permission"
}

// remedyForCredentials returns the next step if the SDK found no credentials, by the
// texts of its errors: they have no codes.
func remedyForCredentials(text string) string {
	switch {
	case strings.Contains(text, "SSO session has expired"), strings.Contains(text, "SSO token"), strings.Contains(text, "sso/cache"), strings.Contains(text, "operation error SSO"):
		return "aws sso login, with --profile PROFILE if you use one"
	case strings.Contains(text, "no EC2 IMDS role"):
		return "provide AWS credentials: aws sso login, aws configure, AWS_PROFILE or --profile; there are none in the environment or in ~/.aws, and this machine has no instance role"
	case strings.Contains(text, "failed to refresh cached credentials"), strings.Contains(text, "get credentials"):
		return "provide AWS credentials: aws configure, AWS_PROFILE or --profile"
	}
	return ""
}

// DenialRemedy returns the next step by the kind of policy that denies an action, which AWS
// names in many messages, and false if the text names none.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func DenialRemedy(action, text string) (remedy string, isKnown bool) {
	switch {
	case strings.Contains(text, "service control policy"), strings.Contains(text, "resource control policy"):
		return "a policy of the organization denies " + action + ", and no policy of the account can allow it: ask the administrators of the organization to change it, or use another account or role", true
	case strings.Contains(text, "VPC endpoint policy"):
		return "the policy of a VPC endpoint denies " + action + ": allow it there, or run the doctor from outside of the VPC", true
	case strings.Contains(text, "permissions boundary"):
		return "the permissions boundary of the caller must allow " + action + "; see aws sts get-caller-identity", true
	case strings.Contains(text, "session policy"):
		return "the policy of the session must allow " + action + ": log in without one, or with another role", true
	case strings.Contains(text, "explicit deny"):
		return "a policy denies " + action + " to the caller: remove the denying statement, or use another --profile; see aws sts get-caller-identity", true
	}
	return "", false
}

// isSkewed reports whether a request was refused because of its time.
func isSkewed(code, text string) bool {
	return code == "RequestTimeTooSkewed" || code == "RequestInTheFuture" || code == "RequestExpired" && !strings.Contains(text, "token") ||
		strings.Contains(text, "Signature expired") || strings.Contains(text, "Signature not yet current")
}

func isDenied(code string) bool {
	return slices.Contains([]string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException"}, code)
}

func isUnauthenticated(code string) bool {
	return slices.Contains([]string{
		"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure",
		"SignatureDoesNotMatch", "InvalidSignatureException", "MissingAuthenticationToken", "OptInRequired",
	}, code)
}

func isThrottled(code string) bool {
	return slices.Contains([]string{"Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "RequestThrottled", "SlowDown"}, code)
}

// IsLogin reports whether the caller has no valid credentials.
func IsLogin(err error) bool {
	code := Code(err)
	return remedyForCredentials(err.Error()) != "" || isUnauthenticated(code) || isSkewed(code, err.Error())
}
