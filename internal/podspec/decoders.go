// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// decoderPool reuses decoders. A decoder has tables of the names that it has seen,
// to find duplicates; to allocate them for each document would be much of the
// garbage. It is safe for concurrent use, and the zero value is ready.
type decoderPool struct{ idle sync.Pool }

// maxPooled is the size of the largest document whose decoder is reused: the
// tables grow with the document and do not shrink.
const maxPooled = 256 << 10

// read calls f with a decoder at the start of data. The decoder must not be used
// after f has returned.
func (p *decoderPool) read(data []byte, f func(*jsontext.Decoder) error) error {
	d, ok := p.idle.Get().(*jsontext.Decoder)
	if !ok {
		d = jsontext.NewDecoder(bytes.NewBuffer(data))
	} else {
		d.Reset(bytes.NewBuffer(data))
	}
	err := f(d)
	if len(data) <= maxPooled {
		d.Reset(bytes.NewBuffer(nil)) // keep no document alive
		p.idle.Put(d)
	}
	return err
}
