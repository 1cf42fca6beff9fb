package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// format is how a command prints: for people, or as JSON for programs.
type format string

const (
	forPeople format = "people" // a table or text, by the command
	asJSON    format = "json"
)

// outputFlag adds -o; the command's own form for people has the name.
func outputFlag(cmd *cobra.Command, people string) *format {
	f := &formatFlag{format: forPeople, people: people}
	cmd.Flags().VarP(f, "output", "o", people+" or json")
	return &f.format
}

type formatFlag struct {
	format format
	people string
}

func (f *formatFlag) String() string {
	if f.format == asJSON {
		return string(asJSON)
	}
	return f.people
}

func (f *formatFlag) Set(s string) error {
	switch s {
	case f.people:
		f.format = forPeople
	case string(asJSON):
		f.format = asJSON
	default:
		return errors.New("write " + f.people + " or json")
	}
	return nil
}

func (f *formatFlag) Type() string { return "form" }

// printJSON prints v indented, characters such as < as they are.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table aligns rows in columns. Cells hold what senders wrote, so control characters, which could move a
// terminal's cursor or colour its text, are left out.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, heads ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(heads) > 0 {
		t.row(heads...)
	}
	return t
}

func (t table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = onScreen(c)
	}
	_, _ = fmt.Fprintln(t.w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

// flush writes the table, and tells of any error so far.
func (t table) flush() error { return t.w.Flush() }

// onScreen is text on one line without control characters.
func onScreen(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if stem, ok := strings.CutSuffix(thing, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
