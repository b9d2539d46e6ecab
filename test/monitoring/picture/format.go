// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"fmt"
	"strconv"
)

// format writes a value in one of the units that the dashboard has.
func format(value float64, unit string) string {
	switch unit {
	case "short":
		return short(value)
	case "percentunit":
		return short(value*100) + "%"
	case "s":
		return scaled(value, []scale{{1e-6, "µs"}, {1e-3, "ms"}, {1, "s"}, {60, "min"}, {3600, "h"}, {86400, "d"}})
	case "bytes":
		return scaled(value, []scale{{1, "B"}, {1 << 10, "KiB"}, {1 << 20, "MiB"}, {1 << 30, "GiB"}})
	case "reqps":
		return short(value) + " req/s"
	case "ops":
		return short(value) + " ops/s"
	}
	return fmt.Sprintf("%s (%s)", short(value), unit)
}

// short has three digits, and no zeros at its end.
func short(value float64) string {
	text := strconv.FormatFloat(value, 'g', 3, 64)
	rounded, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// A scale is a unit and how many of the smallest it has.
type scale struct {
	of   float64
	name string
}

// scaled writes a value in the largest unit of which it has one.
func scaled(value float64, scales []scale) string {
	if value == 0 {
		return "0"
	}
	chosen := scales[0]
	for _, s := range scales {
		if value >= s.of || -value >= s.of {
			chosen = s
		}
	}
	return short(value/chosen.of) + " " + chosen.name
}
