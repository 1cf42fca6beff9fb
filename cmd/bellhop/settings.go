package main

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/app"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// settingFlags adds a flag for each of the named settings, all if none is named. What the environment says
// is the default.
func (p *program) settingFlags(cmd *cobra.Command, names ...string) {
	fs, settings := cmd.Flags(), reflect.ValueOf(&p.settings).Elem()
	for i := range settings.NumField() {
		field := settings.Type().Field(i)
		name := field.Tag.Get("flag")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		doc := field.Tag.Get("desc") + " [$" + variable(name) + "]"
		switch v := settings.Field(i).Addr().Interface().(type) {
		case *string:
			fs.StringVar(v, name, *v, doc)
		case *int:
			fs.IntVar(v, name, *v, doc)
		case *time.Duration:
			fs.DurationVar(v, name, *v, doc)
		case text:
			fs.Var(textFlag{v, strings.ToLower(field.Type.Name())}, name, doc)
		default:
			panic(fmt.Sprintf("setting %s: no flag can hold a %s", field.Name, field.Type))
		}
	}
}

// text is a setting that knows how it is written.
type text interface {
	encoding.TextUnmarshaler
	encoding.TextMarshaler
}

type textFlag struct {
	text
	kind string
}

func (f textFlag) Set(s string) error { return f.UnmarshalText([]byte(s)) }
func (f textFlag) Type() string       { return f.kind }

func (f textFlag) String() string {
	if f.text == nil { // pflag asks the zero value, too
		return ""
	}
	b, err := f.MarshalText()
	if err != nil {
		return ""
	}
	return string(b)
}

// variable is the environment's name of a flag.
func variable(flag string) string {
	return app.EnvironmentPrefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configFlags are the settings of commands that read the configuration.
func (p *program) configFlags(cmd *cobra.Command, more ...string) {
	p.settingFlags(cmd, append([]string{"config", "secrets"}, more...)...)
}

// load reads the configuration as serve does. The snapshot is what is whole of it, whatever the problems:
// enough for a command that needs a part. Sources and providers log to the logger; nil silences them.
func (p *program) load(logger *slog.Logger) (*config.Snapshot, bellhop.Problems, error) {
	if p.environment != nil {
		return nil, nil, p.environment
	}
	snapshot, problems := p.settings.Loader(p.catalog, logger).Load()
	return snapshot, problems, nil
}

// missing is the error for a part that is not in the configuration, perhaps because that is broken.
func missing(what, name string, known []string, problems bellhop.Problems) error {
	there := "there are " + strings.Join(known, ", ")
	if len(known) == 0 {
		there = "there is none"
	}
	err := fmt.Errorf("no usable %s %q in the configuration: %s", what, name, there)
	if problems = problems.Fatal(); len(problems) > 0 {
		err = fmt.Errorf("%w\n%w", err, problems)
	}
	return err
}
