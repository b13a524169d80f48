//go:build unix

package process

import (
	"os"
	"path/filepath"
	"strings"
)

// find returns the first of the programs that is there, by the PATH that the
// program itself will see.
func find(variables []string, names ...string) (string, bool) {
	path, _ := lookup(variables, "PATH")
	for _, name := range names {
		if filepath.IsAbs(name) {
			if executable(name) {
				return name, true
			}
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			if file := filepath.Join(dir, name); filepath.IsAbs(file) && executable(file) {
				return file, true
			}
		}
	}
	return "", false
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
