// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
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
func (s *Scanner) Scan(pod []byte) (seen Pod, err error) {
	err = s.decoders.read(pod, func(d *jsontext.Decoder) error {
		r := reader{Decoder: d, Scanner: s}
		if err := readObject(d, r.top); err != nil {
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
	*jsontext.Decoder
	*Scanner
	pod Pod
}

func (r *reader) top(key []byte) error {
	switch string(key) {
	case "metadata":
		r.pod.HasMetadata = r.PeekKind() == '{'
		return readObject(r.Decoder, r.metadata)
	case "spec":
		return readObject(r.Decoder, r.spec)
	}
	return r.SkipValue()
}

func (r *reader) metadata(key []byte) (err error) {
	switch string(key) {
	case "name":
		r.pod.Name, err = readString(r.Decoder)
	case "generateName":
		r.pod.GenerateName, err = readString(r.Decoder)
	case "annotations":
		r.pod.HasAnnotations = r.PeekKind() == '{'
		start := r.InputOffset()
		err = readObject(r.Decoder, r.annotation)
		r.pod.AnnotationsSize = int(r.InputOffset() - start)
	default:
		err = r.SkipValue()
	}
	return err
}

func (r *reader) annotation(key []byte) error {
	if !r.Scanner.annotations[string(key)] {
		return r.SkipValue()
	}
	name := string(key)
	v, err := readString(r.Decoder)
	if r.pod.Annotations == nil {
		r.pod.Annotations = map[string]string{}
	}
	r.pod.Annotations[name] = v
	return err
}

func (r *reader) spec(key []byte) error {
	list, ok := r.lists[string(key)]
	if !ok {
		return r.SkipValue()
	}
	return readArray(r.Decoder, func(i int) error { return r.item(list, i) })
}

// item reads one container or volume. Its name may come after its image, so
// the fields get it at the end.
func (r *reader) item(list List, index int) error {
	first, name := len(r.pod.Images), ""
	image := ImageField{List: list.Name, Index: index, EnvIndex: -1, field: list.Image}
	err := readObject(r.Decoder, func(key []byte) (err error) {
		switch {
		case string(key) == "name":
			name, err = readString(r.Decoder)
		case string(key) == list.Image[0]:
			if image.Value, err = r.nested(list.Image[1:]); err == nil {
				err = r.found(image)
			}
		case string(key) == "env" && list.Env && len(r.env) > 0:
			err = readArray(r.Decoder, func(j int) error { return r.variable(list, index, j) })
		default:
			err = r.SkipValue()
		}
		return err
	})
	for i := first; i < len(r.pod.Images); i++ {
		r.pod.Images[i].Item = name
	}
	return err
}

// nested reads the text at the path below the next value; "" if it is absent.
func (r *reader) nested(path []string) (value string, err error) {
	if len(path) == 0 {
		return readString(r.Decoder)
	}
	err = readObject(r.Decoder, func(key []byte) error {
		if string(key) != path[0] {
			return r.SkipValue()
		}
		value, err = r.nested(path[1:])
		return err
	})
	return value, err
}

// variable copies only values that it reports: the others may be long or secret.
func (r *reader) variable(list List, index, envIndex int) error {
	found := ImageField{List: list.Name, Index: index, EnvIndex: envIndex}
	named, listed, hasValue := false, false, false
	err := readObject(r.Decoder, func(key []byte) error {
		switch string(key) {
		case "name":
			name, err := readBytes(r.Decoder)
			if named, listed = true, r.env[string(name)]; listed {
				found.Env = string(name)
			}
			return err
		case "value":
			value, err := readBytes(r.Decoder)
			if hasValue = true; listed || !named {
				found.Value = string(value)
			}
			return err
		}
		return r.SkipValue()
	})
	if err == nil && hasValue && listed {
		err = r.found(found)
	}
	return err
}

func (r *reader) found(i ImageField) error {
	if r.MaxImages > 0 && len(r.pod.Images) == r.MaxImages {
		return ErrTooManyImages
	}
	r.pod.Images = append(r.pod.Images, i)
	return nil
}
