package bellhop

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ProblemSeverity tells what stops a configuration from what is merely doubtful.
type ProblemSeverity int

// A Problem that is Fatal keeps the configuration from being used; a Warning does not.
const (
	Fatal ProblemSeverity = iota
	Warning
)

func (s ProblemSeverity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one thing wrong with a configuration: where, and what to write instead.
type Problem struct {
	File     string // as given on the command line or found in the directory; empty if no file is to blame
	Line     int    // from 1; 0 if unknown
	Col      int    // from 1; 0 if unknown
	Path     string // providers[2].rateLimit; relative to its own settings when a plug-in reports it
	Severity ProblemSeverity
	Message  string // lower case; what is wrong, and what to write instead
	// MissingKey is what is not there, and may only be late: KEY under the secrets, or NAME/KEY of a Secret. Empty if
	// the problem is another.
	MissingKey string
}

// String is file:line:col: path: message, warnings marked.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		b.WriteByte(':')
		if p.Line > 0 {
			b.WriteString(strconv.Itoa(p.Line) + ":" + strconv.Itoa(max(p.Col, 1)) + ":")
		}
		b.WriteByte(' ')
	}
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems are all that is wrong, in the order of the files. As an error it prints one a line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Fatal are the problems that keep the configuration from being used.
func (ps Problems) Fatal() Problems { return ps.only(Fatal) }

// Warnings are the others.
func (ps Problems) Warnings() Problems { return ps.only(Warning) }

func (ps Problems) only(s ProblemSeverity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// Err is nil if nothing is fatal, else all problems.
func (ps Problems) Err() error {
	if len(ps.Fatal()) == 0 {
		return nil
	}
	return ps
}

// Wrong is a fatal problem at a path of a plug-in's own settings, such as "channel" or "headers.X-Key".
func Wrong(path, format string, args ...any) Problem {
	return Problem{Path: path, Message: fmt.Sprintf(format, args...)}
}

// Doubtful is a warning at a path of a plug-in's own settings.
func Doubtful(path, format string, args ...any) Problem {
	return Problem{Path: path, Message: fmt.Sprintf(format, args...), Severity: Warning}
}

// Error lets one problem be returned as an error.
func (p Problem) Error() string { return p.String() }

// AsProblems turns any error into problems: Problems and a Problem as they are, errors.Join part by part,
// anything else as one fatal problem without a path.
func AsProblems(err error) Problems {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var ps Problems
		for _, e := range joined.Unwrap() {
			ps = append(ps, AsProblems(e)...)
		}
		return ps
	}
	if ps, ok := errors.AsType[Problems](err); ok {
		return ps
	}
	if p, ok := errors.AsType[Problem](err); ok {
		return Problems{p}
	}
	return Problems{{Message: err.Error()}}
}
