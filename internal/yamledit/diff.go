package yamledit

import (
	"slices"
	"strconv"
	"strings"
)

// LineDiff shows how the lines of two texts differ, with two lines around each
// change, as diff -u does without its heads.
func LineDiff(old, now string) []string {
	a, b := strings.Split(strings.TrimSuffix(old, "\n"), "\n"), strings.Split(strings.TrimSuffix(now, "\n"), "\n")
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	const around, most = 2, 2000
	from := max(0, head-around)
	lines := []string{"@@ line " + strconv.Itoa(from+1)}
	for _, s := range a[from:head] {
		lines = append(lines, "  "+s)
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if len(x) > most || len(y) > most {
		return append(lines, "… too many lines differ to be shown")
	}
	lines = append(lines, common(x, y, around)...)
	for _, s := range a[len(a)-tail : min(len(a), len(a)-tail+around)] {
		lines = append(lines, "  "+s)
	}
	return lines
}

// common is the longest common subsequence of x and y, as a diff.
func common(x, y []string, around int) []string {
	long := make([][]int, len(x)+1)
	for i := range long {
		long[i] = make([]int, len(y)+1)
	}
	for i := range slices.Backward(x) {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				long[i][j] = long[i+1][j+1] + 1
			} else {
				long[i][j] = max(long[i+1][j], long[i][j+1])
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			out = append(out, "  "+x[i])
			i, j = i+1, j+1
		case i < len(x) && (j == len(y) || long[i+1][j] >= long[i][j+1]):
			out = append(out, "- "+x[i])
			i++
		default:
			out = append(out, "+ "+y[j])
			j++
		}
	}
	return fold(out, around)
}

// fold leaves out long stretches without a change.
func fold(lines []string, around int) []string {
	var out []string
	for i := 0; i < len(lines); {
		end := i
		for end < len(lines) && strings.HasPrefix(lines[end], " ") {
			end++
		}
		if end-i > 2*around+1 {
			out = append(out, lines[i:i+around]...)
			out = append(out, "@@")
			i = end - around
		}
		for ; i < end; i++ {
			out = append(out, lines[i])
		}
		for i < len(lines) && !strings.HasPrefix(lines[i], " ") {
			out = append(out, lines[i])
			i++
		}
	}
	return out
}
