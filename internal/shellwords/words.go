// Package shellwords reads command lines as a POSIX shell does, far enough to
// tell what appended words would mean.
package shellwords

import "strings"

// TakesArguments reports that "$@" may be appended to a command line, D28: it
// is a single simple command (words, quoting, redirections of files) and uses
// none of the positional parameters itself. In doubt it says no: then the
// command gets its arguments as parameters and nothing is changed.
func TakesArguments(line string) bool {
	s := scanner{text: strings.TrimSpace(line)}
	for !s.done() {
		if !s.word() {
			return false
		}
	}
	return s.commands > 0
}

// scanner walks over the words of one simple command.
type scanner struct {
	text     string
	at       int
	commands int // words that are neither assignments nor parts of redirections
}

func (s *scanner) done() bool {
	for s.at < len(s.text) {
		switch {
		case s.text[s.at] == ' ' || s.text[s.at] == '\t':
			s.at++
		case strings.HasPrefix(s.text[s.at:], "\\\n"):
			s.at += 2
		default:
			return false
		}
	}
	return true
}

// reserved begin something that is no simple command, or one for which
// appended words mean something else.
var reserved = map[string]bool{
	"if": true, "then": true, "else": true, "elif": true, "fi": true, "for": true, "while": true, "until": true, "do": true, "done": true,
	"case": true, "esac": true, "select": true, "function": true, "time": true, "coproc": true, "in": true, "{": true, "}": true, "!": true,
	"[": true, "[[": true, "set": true, "shift": true, "eval": true, "trap": true, "getopts": true, "exit": true, "return": true,
	"alias": true, "unset": true, "break": true, "continue": true, ":": true, "cd": true,
}

// word takes one word, or one redirection with its file; false when the line
// is no simple command without parameters.
func (s *scanner) word() bool {
	begin := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t':
			return s.classify(s.text[begin:s.at])
		case '\n', ';', '&', '|', '(', ')':
			return false
		case '<', '>':
			return s.redirection(s.text[begin:s.at])
		case '#':
			if s.at == begin {
				return false
			}
			s.at++
		case '\'':
			end := strings.IndexByte(s.text[s.at+1:], '\'')
			if end < 0 {
				return false
			}
			s.at += end + 2
		case '"':
			if !s.doubleQuoted() {
				return false
			}
		case '\\':
			if s.at+1 >= len(s.text) {
				return false
			}
			s.at += 2
		case '$':
			if !s.parameter() {
				return false
			}
		case '`':
			return false
		default:
			s.at++
		}
	}
	return s.classify(s.text[begin:])
}

// redirection takes "> file", "2>&1", ">> file" and the like; before is what
// stands directly in front: a file descriptor, or a word that it ends.
func (s *scanner) redirection(before string) bool {
	if strings.Trim(before, "0123456789") != "" && !s.classify(before) {
		return false
	}
	op := s.text[s.at]
	s.at++
	if strings.HasPrefix(s.text[s.at:], "<") || op == '>' && strings.HasPrefix(s.text[s.at:], "(") || op == '<' && strings.HasPrefix(s.text[s.at:], "(") {
		return false // a here-document, or a process substitution
	}
	if s.at < len(s.text) && strings.IndexByte(">&|", s.text[s.at]) >= 0 {
		s.at++
	}
	if s.done() {
		return false
	}
	commands := s.commands
	ok := s.word()
	s.commands = commands // the file is no word of the command
	return ok
}

func (s *scanner) classify(word string) bool {
	if word == "" {
		return true
	}
	if s.commands == 0 {
		if reserved[word] {
			return false
		}
		if name, _, ok := strings.Cut(word, "="); ok && isName(name) {
			return true
		}
	}
	s.commands++
	return true
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func (s *scanner) doubleQuoted() bool {
	s.at++
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			s.at++
			return true
		case '\\':
			s.at += 2
		case '$':
			if !s.parameter() {
				return false
			}
		case '`':
			return false
		default:
			s.at++
		}
	}
	return false
}

// parameter takes $name, ${name…}, $(…) and the like; false when it is, or may
// hold, a positional parameter.
func (s *scanner) parameter() bool {
	s.at++
	if s.at >= len(s.text) {
		return true
	}
	switch c := s.text[s.at]; {
	case c >= '1' && c <= '9', c == '@', c == '*', c == '#':
		return false
	case c == '{':
		if next := s.text[s.at+1:]; next == "" || next[0] >= '1' && next[0] <= '9' || strings.IndexByte("@*#!", next[0]) >= 0 {
			return false
		}
		return s.enclosed('{', '}')
	case c == '(':
		return s.enclosed('(', ')')
	case c == '$' || c == '?' || c == '!' || c == '-' || c == '0':
		s.at++
	}
	return true
}

// enclosed takes ${…} or $(…) up to its end; false when a positional parameter
// is used inside, or the end is not found.
func (s *scanner) enclosed(opening, closing byte) bool {
	for depth := 0; s.at < len(s.text); {
		switch c := s.text[s.at]; {
		case c == '\\':
			s.at += 2
		case c == '`':
			return false
		case c == '"':
			if !s.doubleQuoted() {
				return false
			}
		case c == '\'' && opening == '(':
			end := strings.IndexByte(s.text[s.at+1:], '\'')
			if end < 0 {
				return false
			}
			s.at += end + 2
		case c == '$':
			if !s.parameter() {
				return false
			}
		default:
			s.at++
			switch c {
			case opening:
				depth++
			case closing:
				depth--
			}
			if depth == 0 {
				return true
			}
		}
	}
	return false
}
