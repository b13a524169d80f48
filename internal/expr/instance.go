package expr

import (
	"regexp"

	"github.com/itchyny/gojq"
)

type regexKey struct{ re, flags string }

type matcher struct{ *regexp.Regexp }

// instance is one compiled program with the functions of ours that it calls.
// They reach the meter of the evaluation by it, so an instance serves one
// evaluation at a time; an Expr keeps a few.
type instance struct {
	code *gojq.Code
	m    *meter
}

func newInstance(q *gojq.Query, vars []string) (*instance, error) {
	in := &instance{}
	var err error
	in.code, err = gojq.Compile(q, append(in.natives(), gojq.WithVariables(vars))...)
	return in, err
}

func (in *instance) natives() []gojq.CompilerOption { return nil }
