// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	project = "github.com/castai/privatelink-webhook"
	unknown = "NOASSERTION"

	contained = common.TypeRelationshipContains
	dependsOn = common.TypeRelationshipDependsOn
)

// document collects packages. A module that several programs link is one package, and
// so is a program that several images contain.
type document struct {
	version string
	doc     spdx.Document
	seen    map[common.ElementID]bool
	related map[spdx.Relationship]bool
}

// creationTime reads SOURCE_DATE_EPOCH.
func creationTime(epoch string) (time.Time, error) {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: set it to the time of the commit, as printed by git log -1 --format=%%ct", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func newDocument(version string, created time.Time) *document {
	return &document{version: version, seen: map[common.ElementID]bool{}, related: map[spdx.Relationship]bool{}, doc: spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		CreationInfo: &spdx.CreationInfo{
			Created:  created.Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: project + "/internal/tools/sbom"}},
		},
	}}
}

// describe returns the document about a package that was added.
func (d *document) describe(root *spdx.Package, name string) *spdx.Document {
	d.doc.DocumentName = strings.TrimSuffix(name, ".spdx.json")
	d.doc.DocumentNamespace = fmt.Sprintf("https://%s/spdx/%s/%s-%s", project, d.version, d.doc.DocumentName, root.PackageChecksums[0].Value)
	d.doc.Relationships = append([]*spdx.Relationship{{
		RefA: common.MakeDocElementID("", "DOCUMENT"), RefB: common.MakeDocElementID("", string(root.PackageSPDXIdentifier)),
		Relationship: common.TypeRelationshipDescribe,
	}}, d.doc.Relationships...)
	return &d.doc
}

// addFile adds a program, or the image in an OCI archive.
func (d *document) addFile(file string) (*spdx.Package, error) {
	if filepath.Ext(file) == ".tar" {
		return d.addImage(file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return d.addProgram(filepath.Base(file), data)
}

// addProgram adds a Go program with the modules that it links.
func (d *document) addProgram(name string, data []byte) (*spdx.Package, error) {
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the modules of the program: %w", err)
	}
	if len(info.Deps) == 0 {
		return nil, errors.New("the program has no modules: was it built from a list of files?")
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	program := d.add(&spdx.Package{
		PackageName: strings.TrimSuffix(name, ".exe"), PackageVersion: d.version, PackageFileName: name, PrimaryPackagePurpose: "APPLICATION",
		PackageChecksums:  []common.Checksum{{Algorithm: common.SHA256, Value: sum}},
		PackageSourceInfo: fmt.Sprintf("%s at commit %s, for %s/%s", info.Path, orUnknown(setting(info, "vcs.revision")), setting(info, "GOOS"), setting(info, "GOARCH")),
		// The license of this repository.
		PackageLicenseDeclared: "Apache-2.0",
	}, purl("golang", project, d.version, "checksum=sha256:"+sum, strings.TrimPrefix(info.Path, project+"/")))
	d.relate(program, dependsOn, d.addModule("stdlib", strings.TrimPrefix(info.GoVersion, "go"), ""))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		d.relate(program, dependsOn, d.addModule(m.Path, m.Version, m.Sum))
	}
	return program, nil
}

// addModule adds a module of Go, with its hash in go.sum.
func (d *document) addModule(name, version, sum string) *spdx.Package {
	p := &spdx.Package{PackageName: name, PackageVersion: version, PrimaryPackagePurpose: "LIBRARY"}
	if sum != "" {
		p.PackageSourceInfo = "go.sum: " + sum
	}
	return d.add(p, purl("golang", name, version, "", ""))
}

// add adds a package once. Its package URL identifies it.
func (d *document) add(p *spdx.Package, url string) *spdx.Package {
	hash := sha256.Sum256([]byte(url))
	p.PackageSPDXIdentifier = common.ElementID(fmt.Sprintf("Package-%s-%x", notAllowed.ReplaceAllString(p.PackageName, "-"), hash[:6]))
	p.PackageDownloadLocation, p.PackageLicenseConcluded, p.PackageCopyrightText = unknown, unknown, unknown
	if p.PackageLicenseDeclared == "" {
		p.PackageLicenseDeclared = unknown
	}
	p.IsFilesAnalyzedTagPresent = true
	p.PackageExternalReferences = []*spdx.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: url}}
	if !d.seen[p.PackageSPDXIdentifier] {
		d.seen[p.PackageSPDXIdentifier] = true
		d.doc.Packages = append(d.doc.Packages, p)
	}
	return p
}

// notAllowed are the characters that an SPDX identifier must not have.
var notAllowed = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func (d *document) relate(from *spdx.Package, kind string, to *spdx.Package) {
	r := spdx.Relationship{
		RefA: common.MakeDocElementID("", string(from.PackageSPDXIdentifier)), RefB: common.MakeDocElementID("", string(to.PackageSPDXIdentifier)), Relationship: kind,
	}
	if !d.related[r] {
		d.related[r] = true
		d.doc.Relationships = append(d.doc.Relationships, &r)
	}
}

// purl returns a package URL (https://github.com/package-url/purl-spec).
func purl(kind, name, version, qualifiers, subpath string) string {
	url := "pkg:" + kind + "/" + path.Clean(name) + "@" + strings.NewReplacer("+", "%2B", ":", "%3A").Replace(version)
	if qualifiers != "" {
		url += "?" + qualifiers
	}
	if subpath != "" {
		url += "#" + subpath
	}
	return url
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
