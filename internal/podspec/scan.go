// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/castai/privatelink-webhook/internal/jsonscan"
)

// Pod has every image field of a pod, and the facts of its metadata that decide how
// a patch is written. All other fields are not decoded, so that unknown ones cannot
// be lost.
type Pod struct {
	Name            string
	GenerateName    string
	HasMetadata     bool              // metadata is an object
	HasAnnotations  bool              // metadata.annotations is an object, even an empty one
	AnnotationsSize int               // of the annotations object in the JSON, in bytes
	Annotations     map[string]string // only the keys that were given to NewScanner
	Images          []ImageField
}

// ImageField is a field of a pod that holds an image reference.
type ImageField struct {
	// List is the field of the pod spec, such as "containers"; Index the item.
	List  string
	Index int
	// Item is the name of the container or volume.
	Item string
	// EnvIndex is the position in the item's env list, or -1 for the item's own
	// image. Env is the variable's name.
	EnvIndex int
	Env      string
	// Value is the reference as it is in the pod.
	Value string
	field []string
}

// OriginalImages decodes the annotation OriginalImages, whose key must have
// been given to NewScanner. The map is nil if the pod does not have it.
func (p Pod) OriginalImages() (map[string]string, error) {
	text, ok := p.Annotations[OriginalImages]
	if !ok {
		return nil, nil
	}
	var originals map[string]string
	if err := json.Unmarshal([]byte(text), &originals); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", OriginalImages, err)
	}
	return originals, nil
}

// Pointer returns the JSON pointer (RFC 6901) of the value, from the pod's root.
func (i ImageField) Pointer() string {
	b := make([]byte, 0, 64)
	b = append(b, "/spec/"...)
	b = append(b, i.List...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(i.Index), 10)
	if i.EnvIndex >= 0 {
		b = append(b, "/env/"...)
		b = strconv.AppendInt(b, int64(i.EnvIndex), 10)
		return string(append(b, "/value"...))
	}
	for _, f := range i.field {
		b = append(b, '/')
		b = append(b, f...)
	}
	return string(b)
}

// Location identifies the field by names where the pointer has numbers, such as
// "containers/agent" or "containers/agent/env/NAME". It does not change if another
// webhook inserts an item.
func (i ImageField) Location() string {
	if i.EnvIndex >= 0 {
		return i.List + "/" + i.Item + "/env/" + i.Env
	}
	return i.List + "/" + i.Item
}

// ErrTooManyImages is the error of a pod with more image fields than
// Scanner.MaxImages.
var ErrTooManyImages = errors.New("too many image fields")

// Scanner reads pods. It is safe for concurrent use.
type Scanner struct {
	// MaxImages is the number of image fields above which Scan returns
	// ErrTooManyImages; 0 is no limit. It must not change after the first Scan.
	MaxImages int

	lists       map[string]List
	env         map[string]bool
	annotations map[string]bool
	readers     jsonscan.Pool
	decoders    decoderPool
}

// NewScanner returns a scanner that also reports the values of the environment
// variables named in env, and keeps the annotations with the given keys.
func NewScanner(env, annotations []string) *Scanner {
	s := &Scanner{lists: map[string]List{}, env: map[string]bool{}, annotations: map[string]bool{}}
	for _, l := range Lists() {
		s.lists[l.Name] = l
	}
	for _, n := range env {
		s.env[n] = true
	}
	for _, a := range annotations {
		s.annotations[a] = true
	}
	return s
}

// Scan reads a pod as JSON. It is strict about JSON itself (RFC 8259: valid
// UTF-8, no key twice in one object, keys are case-sensitive) and about the
// types of the fields that it reads, and ignores all others.
func (s *Scanner) Scan(pod []byte) (Pod, error) {
	if seen, err := s.scanQuickly(pod); err == nil {
		return seen, nil
	}
	return s.scanStrictly(pod)
}

// scanQuickly takes a third of the time of scanStrictly, for most pods. Its error
// only says that it is not used for this one.
func (s *Scanner) scanQuickly(pod []byte) (Pod, error) {
	text := s.readers.Get(pod)
	defer s.readers.Put(text)
	r := reader{source: text, Scanner: s}
	if err := r.read(); err != nil {
		return Pod{}, err
	}
	return r.pod, text.End()
}

func (s *Scanner) scanStrictly(pod []byte) (seen Pod, err error) {
	err = s.decoders.read(pod, func(d *jsontext.Decoder) error {
		r := reader{source: &library{Decoder: d}, Scanner: s}
		if err := r.read(); err != nil {
			return fmt.Errorf("pod%s: %w", d.StackPointer(), err)
		}
		if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
			return errors.New("pod: something follows the object")
		}
		seen = r.pod
		return nil
	})
	return seen, err
}

type reader struct {
	source
	*Scanner
	pod Pod
}

func (r *reader) read() error {
	for r.Object(); r.Next(); {
		switch string(r.Name()) {
		case "metadata":
			r.pod.HasMetadata = r.Kind() == '{'
			r.metadata()
		case "spec":
			if err := r.spec(); err != nil {
				return err
			}
		default:
			r.Skip()
		}
	}
	return r.Err()
}

func (r *reader) metadata() {
	for r.Object(); r.Next(); {
		switch string(r.Name()) {
		case "name":
			r.pod.Name = string(r.Text())
		case "generateName":
			r.pod.GenerateName = string(r.Text())
		case "annotations":
			r.pod.HasAnnotations = r.Kind() == '{'
			start := r.Offset()
			for r.Object(); r.Next(); {
				r.annotation()
			}
			r.pod.AnnotationsSize = r.Offset() - start
		default:
			r.Skip()
		}
	}
}

func (r *reader) annotation() {
	if !r.Scanner.annotations[string(r.Name())] {
		r.Skip()
		return
	}
	name := string(r.Name())
	if r.pod.Annotations == nil {
		r.pod.Annotations = map[string]string{}
	}
	r.pod.Annotations[name] = string(r.Text())
}

func (r *reader) spec() error {
	for r.Object(); r.Next(); {
		list, ok := r.lists[string(r.Name())]
		if !ok {
			r.Skip()
			continue
		}
		r.Array()
		for i := 0; r.Next(); i++ {
			if r.item(list, i); r.MaxImages > 0 && len(r.pod.Images) > r.MaxImages {
				return ErrTooManyImages
			}
		}
	}
	return r.Err()
}

// item reads one container or volume. Its name may come after its image, so
// the fields get it at the end.
func (r *reader) item(list List, index int) {
	first, name := len(r.pod.Images), ""
	for r.Object(); r.Next(); {
		switch field := r.Name(); {
		case string(field) == "name":
			name = string(r.Text())
		case string(field) == list.Image[0]:
			r.pod.Images = append(r.pod.Images, ImageField{
				List: list.Name, Index: index, EnvIndex: -1, field: list.Image, Value: r.nested(list.Image[1:]),
			})
		case string(field) == "env" && list.Env && len(r.env) > 0:
			r.Array()
			for i := 0; r.Next(); i++ {
				r.variable(list, index, i)
			}
		default:
			r.Skip()
		}
	}
	for i := first; i < len(r.pod.Images); i++ {
		r.pod.Images[i].Item = name
	}
}

// nested reads the text at the path below the next value; "" if it is absent.
func (r *reader) nested(path []string) (value string) {
	if len(path) == 0 {
		return string(r.Text())
	}
	for r.Object(); r.Next(); {
		if string(r.Name()) == path[0] {
			value = r.nested(path[1:])
		} else {
			r.Skip()
		}
	}
	return value
}

// variable copies only values that it reports: the others may be long or secret.
func (r *reader) variable(list List, index, envIndex int) {
	found := ImageField{List: list.Name, Index: index, EnvIndex: envIndex}
	named, listed, hasValue := false, false, false
	for r.Object(); r.Next(); {
		switch string(r.Name()) {
		case "name":
			name := r.Text()
			if named, listed = true, r.env[string(name)]; listed {
				found.Env = string(name)
			}
		case "value":
			value := r.Text()
			if hasValue = true; listed || !named {
				found.Value = string(value)
			}
		default:
			r.Skip()
		}
	}
	if hasValue && listed && r.inLimit() {
		r.pod.Images = append(r.pod.Images, found)
	}
}

// inLimit reports whether there may be one more image, or the first one too many,
// which ends the scan.
func (r *reader) inLimit() bool { return r.MaxImages == 0 || len(r.pod.Images) <= r.MaxImages }
