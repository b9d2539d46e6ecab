// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Decoders lends out decoders. A decoder grows tables of the names that it has
// seen, to find one that stands twice; grown anew for each document they would
// be much of the garbage. It is safe for concurrent use; the zero value is ready.
type Decoders struct{ idle sync.Pool }

// Read calls f with a decoder at the start of data. The decoder must not be used
// after f has returned.
func (p *Decoders) Read(data []byte, f func(*jsontext.Decoder) error, options ...jsontext.Options) error {
	d, ok := p.idle.Get().(*jsontext.Decoder)
	if !ok {
		d = jsontext.NewDecoder(bytes.NewBuffer(data), options...)
	} else {
		d.Reset(bytes.NewBuffer(data), options...)
	}
	err := f(d)
	d.Reset(bytes.NewBuffer(nil)) // keep no document alive
	p.idle.Put(d)
	return err
}
