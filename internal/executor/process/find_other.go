//go:build !unix

package process

import "os/exec"

// find returns the first of the programs that is on the PATH.
func find(_ []string, names ...string) (string, bool) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}
