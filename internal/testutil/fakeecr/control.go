// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// exception is an error response of the API.
type exception struct{ name, message string }

// serveControl serves the control plane. Requests and responses are JSON objects;
// the operation is in a header.
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
func (s *Server) serveControl(c *call) {
	_, c.Action, _ = strings.Cut(c.r.Header.Get("X-Amz-Target"), ".")
	var in input
	err := json.NewDecoder(c.r.Body).Decode(&in)
	c.Repository, c.Images = in.RepositoryName, len(in.ImageIDs)
	if len(in.RepositoryNames) == 1 {
		c.Repository = in.RepositoryNames[0]
	}
	if s.applyFault(c) {
		return
	}
	operation, known := operations[c.Action]
	switch {
	case !strings.HasPrefix(c.r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "):
		c.exception(http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token")
	case !known:
		c.exception(http.StatusBadRequest, "UnknownOperationException", "")
	case err != nil:
		c.exception(http.StatusBadRequest, "SerializationException", err.Error())
	case slices.Contains(c.switches.Denied, c.Action):
		c.exception(http.StatusBadRequest, "AccessDeniedException", fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/test is not authorized to perform: ecr:%s", s.Account, c.Action))
	case in.RegistryID != "" && in.RegistryID != s.Account:
		c.exception(http.StatusBadRequest, "AccessDeniedException", "no policy of registry "+in.RegistryID+" allows it")
	default:
		out, e := operation(s, in)
		if e != nil {
			c.exception(http.StatusBadRequest, e.name, e.message)
			return
		}
		if deleted, ok := out["imageIds"].([]imageID); ok {
			c.Deleted = len(deleted)
		}
		text, err := json.Marshal(out)
		if err != nil {
			panic(err) // the types can be marshaled
		}
		c.send(http.StatusOK, "application/x-amz-json-1.1", text)
	}
}

func (c *call) exception(status int, name, message string) {
	text, err := json.Marshal(map[string]string{"__type": name, "message": message})
	if err != nil {
		panic(err) // strings can be marshaled
	}
	c.send(status, "application/x-amz-json-1.1", text)
}

// input has the parameters of all operations.
type input struct {
	RegistryID      string   `json:"registryId"`
	RepositoryName  string   `json:"repositoryName"`
	ResourceARN     string   `json:"resourceArn"`
	Force           bool     `json:"force"`
	RepositoryNames []string `json:"repositoryNames"`
	MaxResults      int      `json:"maxResults"`
	NextToken       string   `json:"nextToken"`

	ImageTagMutability                 string              `json:"imageTagMutability"`
	ImageTagMutabilityExclusionFilters []map[string]string `json:"imageTagMutabilityExclusionFilters"`
	EncryptionConfiguration            struct {
		EncryptionType string `json:"encryptionType"`
		KmsKey         string `json:"kmsKey"`
	} `json:"encryptionConfiguration"`
	ImageScanningConfiguration struct {
		ScanOnPush bool `json:"scanOnPush"`
	} `json:"imageScanningConfiguration"`
	Tags []map[string]string `json:"tags"`

	LifecyclePolicyText string `json:"lifecyclePolicyText"`
	PolicyText          string `json:"policyText"`

	ImageIDs []imageID `json:"imageIds"`
	Filter   struct {
		ImageStatus string `json:"imageStatus"`
	} `json:"filter"`
	SubjectID imageID `json:"subjectId"`

	Name  string `json:"name"`
	Value string `json:"value"`
}

type imageID struct {
	ImageDigest digest.Digest `json:"imageDigest,omitempty"`
	ImageTag    string        `json:"imageTag,omitempty"`
}

type object map[string]any

var operations = map[string]func(*Server, input) (object, *exception){
	"CreateRepository":      (*Server).createRepository,
	"DeleteRepository":      (*Server).deleteRepository,
	"DescribeRepositories":  (*Server).describeRepositories,
	"GetAuthorizationToken": (*Server).getAuthorizationToken,
	"GetAccountSetting":     (*Server).getAccountSetting,
	"PutAccountSetting":     (*Server).putAccountSetting,
	"PutLifecyclePolicy":    (*Server).putLifecyclePolicy,
	"GetLifecyclePolicy":    (*Server).getLifecyclePolicy,
	"SetRepositoryPolicy":   (*Server).setRepositoryPolicy,
	"GetRepositoryPolicy":   (*Server).getRepositoryPolicy,
	"DescribeImages":        (*Server).describeImages,
	"BatchGetImage":         (*Server).batchGetImage,
	"ListImageReferrers":    (*Server).listImageReferrers,
	"BatchDeleteImage":      (*Server).batchDeleteImage,
	"ListTagsForResource":   (*Server).listTagsForResource,
}

func (s *Server) repositoryNotFound(name string) *exception {
	return &exception{"RepositoryNotFoundException", fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", name, s.Account)}
}

// repositoryName is the stricter of the two grammars in the documents of AWS.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-create.html
var repositoryName = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$`)

func (s *Server) createRepository(in input) (object, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch _, exists := s.repositories[in.RepositoryName]; {
	case !repositoryName.MatchString(in.RepositoryName) || len(in.RepositoryName) < 2 || len(in.RepositoryName) > 256:
		return nil, &exception{"InvalidParameterException", fmt.Sprintf("Invalid parameter at 'repositoryName' failed to satisfy constraint: '%s' must satisfy regular expression", in.RepositoryName)}
	case exists:
		return nil, &exception{"RepositoryAlreadyExistsException", fmt.Sprintf("The repository with name '%s' already exists in the registry with id '%s'", in.RepositoryName, s.Account)}
	}
	r := newRepository(in.RepositoryName)
	if in.ImageTagMutability != "" {
		r.mutability = in.ImageTagMutability
	}
	for _, f := range in.ImageTagMutabilityExclusionFilters {
		r.excluded = append(r.excluded, f["filter"])
	}
	if e := in.EncryptionConfiguration; e.EncryptionType != "" {
		r.encryption, r.kmsKey = e.EncryptionType, e.KmsKey
	}
	r.scan = in.ImageScanningConfiguration.ScanOnPush
	for _, t := range in.Tags {
		r.tags[t["Key"]] = t["Value"]
	}
	s.repositories[r.name] = r
	return object{"repository": s.describe(r)}, nil
}

func (s *Server) deleteRepository(in input) (object, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repositories[in.RepositoryName]
	if !ok {
		return nil, s.repositoryNotFound(in.RepositoryName)
	}
	if len(r.images) > 0 && !in.Force {
		return nil, &exception{"RepositoryNotEmptyException", fmt.Sprintf("The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", r.name, s.Account)}
	}
	delete(s.repositories, r.name)
	return object{"repository": s.describe(r)}, nil
}

func (s *Server) listTagsForResource(in input) (object, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, name, _ := strings.Cut(in.ResourceARN, ":repository/")
	r, ok := s.repositories[name]
	if !ok {
		return nil, s.repositoryNotFound(name)
	}
	tags := []object{}
	for _, key := range slices.Sorted(maps.Keys(r.tags)) {
		tags = append(tags, object{"Key": key, "Value": r.tags[key]})
	}
	return object{"tags": tags}, nil
}

func (s *Server) describe(r *repository) object {
	filters := []object{}
	for _, f := range r.excluded {
		filters = append(filters, object{"filterType": "WILDCARD", "filter": f})
	}
	return object{
		"registryId": s.Account, "repositoryName": r.name, "createdAt": seconds(r.created),
		"repositoryArn": fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s", s.Region, s.Account, r.name),
		"repositoryUri": s.Host() + "/" + r.name, "imageTagMutability": r.mutability, "imageTagMutabilityExclusionFilters": filters,
		"encryptionConfiguration":    object{"encryptionType": r.encryption, "kmsKey": r.kmsKey},
		"imageScanningConfiguration": object{"scanOnPush": r.scan},
	}
}

// seconds returns a time in the format of the API.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (s *Server) describeRepositories(in input) (object, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := in.RepositoryNames
	var next string
	switch {
	case len(names) > 100:
		return nil, &exception{"InvalidParameterException", "Invalid parameter at 'repositoryNames' failed to satisfy constraint: 'Member must have length less than or equal to 100'"}
	case len(names) == 0:
		names, next = paginate(slices.Sorted(maps.Keys(s.repositories)), in)
	}
	list := []object{}
	for _, name := range names {
		r, ok := s.repositories[name]
		if !ok {
			return nil, s.repositoryNotFound(name)
		}
		list = append(list, s.describe(r))
	}
	return withNext(object{"repositories": list}, next), nil
}

// paginate returns a page of a list, and the token of the next page or "".
func paginate[T any](all []T, in input) ([]T, string) {
	from, _ := strconv.Atoi(in.NextToken) // "" is 0
	size := in.MaxResults
	if size == 0 {
		size = 100
	}
	from = min(from, len(all))
	if to := from + size; to < len(all) {
		return all[from:to], strconv.Itoa(to)
	}
	return all[from:], ""
}

func withNext(out object, next string) object {
	if next != "" {
		out["nextToken"] = next
	}
	return out
}

func (s *Server) getAuthorizationToken(input) (object, *exception) {
	password, expires := s.newToken()
	return object{"authorizationData": []object{{
		"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + password)),
		"expiresAt":          seconds(expires),
		"proxyEndpoint":      "https://" + s.Host(),
	}}}, nil
}

func (s *Server) getAccountSetting(in input) (object, *exception) {
	if in.Name != "BLOB_MOUNTING" {
		return nil, &exception{"InvalidParameterException", "no setting " + in.Name}
	}
	value := "DISABLED"
	if s.currentSwitches().BlobMounting {
		value = "ENABLED"
	}
	return object{"name": in.Name, "value": value}, nil
}

func (s *Server) putAccountSetting(in input) (object, *exception) {
	s.Set(func(w *Switches) { w.BlobMounting = in.Value == "ENABLED" })
	return s.getAccountSetting(in)
}

// withRepository calls f with the repository of the input, under the lock.
func (s *Server) withRepository(in input, f func(*repository) object) (object, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repositories[in.RepositoryName]
	if !ok {
		return nil, s.repositoryNotFound(in.RepositoryName)
	}
	out := f(r)
	out["registryId"], out["repositoryName"] = s.Account, r.name
	return out, nil
}

func (s *Server) putLifecyclePolicy(in input) (object, *exception) {
	return s.withRepository(in, func(r *repository) object {
		r.lifecycle = in.LifecyclePolicyText
		return object{"lifecyclePolicyText": r.lifecycle}
	})
}

func (s *Server) getLifecyclePolicy(in input) (object, *exception) {
	out, e := s.withRepository(in, func(r *repository) object { return object{"lifecyclePolicyText": r.lifecycle} })
	if e == nil && out["lifecyclePolicyText"] == "" {
		return nil, &exception{"LifecyclePolicyNotFoundException", "Lifecycle policy does not exist"}
	}
	return out, e
}

func (s *Server) setRepositoryPolicy(in input) (object, *exception) {
	return s.withRepository(in, func(r *repository) object {
		r.policy = in.PolicyText
		return object{"policyText": r.policy}
	})
}

func (s *Server) getRepositoryPolicy(in input) (object, *exception) {
	out, e := s.withRepository(in, func(r *repository) object { return object{"policyText": r.policy} })
	if e == nil && out["policyText"] == "" {
		return nil, &exception{"RepositoryPolicyNotFoundException", "Repository policy does not exist"}
	}
	return out, e
}
