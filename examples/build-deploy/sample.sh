#!/bin/sh
# Makes a git repository with four versions of a small program: v1 and v2 work,
# the tests of v3 fail, and v4 passes its tests but misses a file in production.
#
#   examples/build-deploy/sample.sh /tmp/shop.git
set -eu
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@shop.example GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@shop.example
mkdir "$1"
cd "$1"
git init --quiet --object-format=sha1 --initial-branch=main .

commit() { # VERSION: the commits are the same ones everywhere
  git add .
  GIT_AUTHOR_DATE="2026-08-0${1#v}T09:00:00Z" GIT_COMMITTER_DATE="2026-08-0${1#v}T09:00:00Z" git commit --quiet -m "shop $1"
  git tag "$1"
}

program() { # VERSION PRICE CHECK
  cat >main.go <<EOF
package main

import (
	"flag"
	"fmt"
	"os"
)

func price(count int) int { return count * $2 }

func check() error {
	$3
}

func main() {
	checks, version := flag.Bool("check", false, ""), flag.Bool("version", false, "")
	flag.Parse()
	switch {
	case *version:
		fmt.Println("$1")
	case *checks:
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
EOF
}

cat >go.mod <<'EOF'
module shop.example/shop

go 1.21
EOF
cat >main_test.go <<'EOF'
package main

import "testing"

func TestPrice(t *testing.T) {
	if got := price(3); got != 30 {
		t.Errorf("three cost %d, want 30", got)
	}
}

func TestCheck(t *testing.T) {
	if err := check(); err != nil {
		t.Error(err)
	}
}
EOF
program v1 10 'return nil'
commit v1
program v2 '(5 + 5)' 'return nil'
commit v2
program v3 11 'return nil'
commit v3
echo 10 >prices.txt
program v4 10 '_, err := os.Stat("prices.txt")
	return err'
commit v4
