package source

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// resolvePlain gives the value of an unquoted YAML scalar by the core schema of
// YAML 1.2, with what that schema would read otherwise than authors mean
// refused: numbers with leading zeros, and numbers that JSON does not have (D30).
func resolvePlain(s string) (v any, problem string) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil, ""
	case "true", "True", "TRUE":
		return true, ""
	case "false", "False", "FALSE":
		return false, ""
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN":
		return s, fmt.Sprintf("%s is a number that JSON does not have", s)
	}
	if c := s[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return s, ""
	}
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'o') {
		base := 16
		if s[1] == 'o' {
			base = 8
		}
		if len(s) > maxDigits {
			return s, fmt.Sprintf("a number has %d digits", len(s))
		}
		if i, ok := new(big.Int).SetString(s[2:], base); ok && isDigits(s[2:], base) {
			return integer(i), ""
		}
		return s, ""
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if len(s)-len(digits) > 1 {
		return s, "" // "-+1" is text
	}
	if isDigits(digits, 10) {
		if len(digits) > 1 && digits[0] == '0' {
			return s, fmt.Sprintf("the number %s has a leading zero: readers of YAML disagree whether it is octal", s)
		}
		if len(digits) > maxDigits {
			return s, fmt.Sprintf("a number has %d digits", len(digits))
		}
		i, _ := new(big.Int).SetString(strings.TrimPrefix(s, "+"), 10)
		return integer(i), ""
	}
	if !isFloat(digits) {
		return s, ""
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return s, fmt.Sprintf("the number %s has a leading zero", s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return s, fmt.Sprintf("the number %s is too large", Quote(s))
	}
	return f, ""
}

// integer gives a number in the form that the values of runs have.
func integer(i *big.Int) any {
	if i.IsInt64() && int64(int(i.Int64())) == i.Int64() {
		return int(i.Int64())
	}
	return i
}

func isDigits(s string, base int) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9' && int(c-'0') < base:
		case base == 16 && (c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'):
		default:
			return false
		}
	}
	return s != ""
}

// isFloat matches ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
func isFloat(s string) bool {
	i := 0
	digits := func() int {
		start := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i - start
	}
	whole, part := digits(), 0
	if i < len(s) && s[i] == '.' {
		i++
		part = digits()
	}
	if whole+part == 0 {
		return false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		if digits() == 0 {
			return false
		}
	}
	return i == len(s)
}
