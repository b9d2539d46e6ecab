// SPDX-License-Identifier: Apache-2.0

// Package editdistance measures how similar two names are, to recognize typing errors.
package editdistance

// Of returns the number of bytes to insert, delete or replace to get from a to b
// (Levenshtein).
func Of(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
