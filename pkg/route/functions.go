package route

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// maxValue is the largest text that a function may make, in bytes: a template that doubles a text in a loop
// ends there.
const maxValue = 1 << 20

var errValue = fmt.Errorf("the text is longer than %v", bellhop.Size(maxValue))

// textName is the function that everything printed goes through.
const textName = "_text"

// functions are what templates can call beside text/template's own; see CompileMessage. They take any value
// as the text that it prints as. There is none that reads a file, the environment or the clock.
var functions = template.FuncMap{
	textName: textOf,
	// Never called: a template's tree is rewritten to read them from its data.
	eventName:   func() any { return nil },
	bodyName:    func() any { return nil },
	headersName: func() any { return nil },

	"upper":      func(v any) string { return strings.ToUpper(textOf(v)) },
	"lower":      func(v any) string { return strings.ToLower(textOf(v)) },
	"trim":       func(v any) string { return strings.TrimSpace(textOf(v)) },
	"trimPrefix": func(prefix string, v any) string { return strings.TrimPrefix(textOf(v), prefix) },
	"trimSuffix": func(suffix string, v any) string { return strings.TrimSuffix(textOf(v), suffix) },
	"contains":   func(part string, v any) bool { return strings.Contains(textOf(v), part) },
	"hasPrefix":  func(prefix string, v any) bool { return strings.HasPrefix(textOf(v), prefix) },
	"hasSuffix":  func(suffix string, v any) bool { return strings.HasSuffix(textOf(v), suffix) },
	"split":      func(sep string, v any) []string { return strings.Split(textOf(v), sep) },
	"truncate":   func(n int, v any) string { return truncate(n, textOf(v)) },
	"short":      func(v any) string { return bellhop.ShortCommit(textOf(v)) },
	"firstLine": func(v any) string {
		line, _, _ := strings.Cut(strings.TrimSpace(textOf(v)), "\n")
		return strings.TrimSpace(line)
	},
	"default": func(d, v any) any {
		if truth, ok := template.IsTrue(v); ok && truth {
			return v
		}
		return d
	},
	"replace": func(old, by string, v any) (string, error) {
		s := textOf(v)
		if grown := len(s) + strings.Count(s, old)*(len(by)-len(old)); grown > maxValue {
			return "", errValue
		}
		return strings.ReplaceAll(s, old, by), nil
	},
	"join": join,
	"date": date,
	"json": func(v any) (string, error) {
		s, err := jsonOf(v)
		if err != nil {
			return "", err
		}
		return limited(s)
	},

	// text/template's own, bounded.
	"print":    func(v ...any) (string, error) { return limited(fmt.Sprint(v...)) },
	"println":  func(v ...any) (string, error) { return limited(fmt.Sprintln(v...)) },
	"printf":   printf,
	"html":     func(v ...any) (string, error) { return limited(template.HTMLEscaper(v...)) },
	"js":       func(v ...any) (string, error) { return limited(template.JSEscaper(v...)) },
	"urlquery": func(v ...any) (string, error) { return limited(template.URLQueryEscaper(v...)) },
}

func limited(s string) (string, error) {
	if len(s) > maxValue {
		return "", errValue
	}
	return s, nil
}

// wide is a verb that pads by more than 999 characters, or by as many as an argument says.
var wide = regexp.MustCompile(`%[-+# 0.\[\]\d]*(\*|\d{4})`)

func printf(format string, v ...any) (string, error) {
	if wide.MatchString(format) {
		return "", errors.New("printf pads by 999 characters at most, written in the format")
	}
	return limited(fmt.Sprintf(format, v...))
}

func join(sep string, list any) (string, error) {
	v := reflect.ValueOf(list)
	if !v.IsValid() {
		return "", nil
	}
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return "", fmt.Errorf("join takes a list, not %s", v.Kind())
	}
	var b strings.Builder
	for i := range v.Len() {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(textOf(v.Index(i).Interface()))
		if b.Len() > maxValue {
			return "", errValue
		}
	}
	return b.String(), nil
}

func date(layout string, v any) (string, error) {
	switch t := v.(type) {
	case time.Time:
		return t.UTC().Format(layout), nil
	case int64:
		return time.Unix(t, 0).UTC().Format(layout), nil
	}
	t, err := time.Parse(time.RFC3339, textOf(v))
	if err != nil {
		return "", errors.New("date takes a time: an RFC 3339 text, or seconds since 1970")
	}
	return t.UTC().Format(layout), nil
}

// textOf is a value as a message shows it: nothing for nil, JSON for lists and maps, RFC 3339 for a time.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(time.RFC3339)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Struct:
		if r.Kind() != reflect.Struct && r.Len() == 0 {
			return ""
		}
		if s, err := jsonOf(v); err == nil {
			return s
		}
	}
	return fmt.Sprint(v)
}

func jsonOf(v any) (string, error) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	return string(b), err
}

// truncate cuts s to at most n characters, the last of them … if anything was cut.
func truncate(n int, s string) string {
	if n < 1 {
		return ""
	}
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	end := 0
	for range n - 1 {
		_, size := utf8.DecodeRuneInString(s[end:])
		end += size
	}
	return s[:end] + "…"
}
