// SPDX-License-Identifier: Apache-2.0

// Package fakeaws serves fixed responses of EC2, EKS, IAM, Organizations, Route 53 and
// STS to the AWS SDK.
// For an emulator that has state see test/aws/emulator.
package fakeaws

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// NotFound is the response of EKS for a cluster that does not exist.
const NotFound = `{"message": "No cluster found."}`

// Serve returns the configuration of a client that gets these responses. A key is
// an IAM action, such as ec2:DescribeVpcs; a value is JSON for EKS and Organizations,
// and for the other services the XML in the response element. An action without a response is
// denied. The region is us-east-1.
func Serve(t testing.TB, responses map[string]string) aws.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service := serviceOf(r)
		action := r.FormValue("Action")
		switch service {
		case "eks":
			action = eksAction(r.URL.Path)
		case "route53":
			action = route53Action(r.URL.Path)
		case "organizations":
			_, action, _ = strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		}
		body, ok := responses[service+":"+action]
		if !ok {
			deny(w, service)
			return
		}
		if body == NotFound {
			w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
			w.WriteHeader(http.StatusNotFound)
		}
		switch service {
		case "eks", "organizations":
			fmt.Fprint(w, body)
		case "ec2", "route53":
			fmt.Fprintf(w, "<%sResponse>%s</%[1]sResponse>", action, body)
		default:
			fmt.Fprintf(w, "<%sResponse><%[1]sResult>%s</%[1]sResult></%[1]sResponse>", action, body)
		}
	}))
	t.Cleanup(server.Close)
	return aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
}

// serviceOf returns the service in the credential scope of the signature:
// KEY/DATE/REGION/SERVICE/aws4_request.
func serviceOf(r *http.Request) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	if parts := strings.Split(scope, "/"); len(parts) > 3 {
		return parts[3]
	}
	return ""
}

// eksAction returns the action of /clusters/NAME and what is below it.
func eksAction(path string) string {
	switch len(strings.Split(strings.Trim(path, "/"), "/")) {
	case 2:
		return "DescribeCluster"
	case 3:
		return "ListNodegroups"
	}
	return "DescribeNodegroup"
}

// route53Action returns the action of /VERSION/hostedzonesbyvpc and
// /VERSION/hostedzone/ID/rrset.
func route53Action(path string) string {
	if strings.HasSuffix(path, "/hostedzonesbyvpc") {
		return "ListHostedZonesByVPC"
	}
	return "ListResourceRecordSets"
}

func deny(w http.ResponseWriter, service string) {
	w.Header().Set("X-Amzn-Errortype", "AccessDeniedException") // for JSON
	w.WriteHeader(http.StatusForbidden)
	switch service {
	case "eks":
	case "organizations":
		fmt.Fprint(w, `{"__type": "AccessDeniedException", "message": "denied"}`)
	case "ec2":
		fmt.Fprint(w, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>denied</Message></Error></Errors></Response>`)
	default:
		fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>denied</Message></Error></ErrorResponse>`)
	}
}
