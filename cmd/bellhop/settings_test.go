package main

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/app"
)

// command is one with a flag for each setting, in today's environment.
func command(t *testing.T, args ...string) *program {
	t.Helper()
	s, err := app.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{settings: *s}
	cmd := &cobra.Command{Run: func(*cobra.Command, []string) {}, SilenceUsage: true}
	p.settingFlags(cmd)
	cmd.SetArgs(args)
	cmd.SetErr(io.Discard)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return p
}

// values are two for each type of setting, none of them a default.
var values = map[reflect.Type][2]string{
	reflect.TypeFor[string]():        {"one", "two"},
	reflect.TypeFor[int]():           {"7", "8"},
	reflect.TypeFor[time.Duration](): {"7h0m0s", "8h0m0s"},
	reflect.TypeFor[slog.Level]():    {"DEBUG", "ERROR"},
}

func pair(field reflect.StructField) [2]string {
	switch field.Name {
	case "MaxBody", "RetentionBytes":
		return [2]string{"7MiB", "8MiB"}
	case "TrustedProxies":
		return [2]string{"10.0.0.0/8", "2001:db8::/32"}
	case "LogFormat":
		return [2]string{"text", "json"}
	}
	return values[field.Type]
}

// Every setting is a variable and a flag of the same name, and the flag wins.
func TestSettings(t *testing.T) {
	for i := range reflect.TypeFor[app.Settings]().NumField() {
		field := reflect.TypeFor[app.Settings]().Field(i)
		t.Run(field.Name, func(t *testing.T) {
			flag, v := field.Tag.Get("flag"), pair(field)
			if flag == "" || field.Tag.Get("desc") == "" || v[0] == "" {
				t.Fatal("a setting has a flag, a desc, and a value here")
			}
			get := func(p *program) string { return fmt.Sprint(reflect.ValueOf(p.settings).Field(i).Interface()) }
			if got := get(command(t)); got == v[0] {
				t.Fatalf("the default is %s already", got)
			}
			t.Setenv(variable(flag), v[0])
			if got := get(command(t)); got != v[0] {
				t.Errorf("%s=%s: got %s", variable(flag), v[0], got)
			}
			if got := get(command(t, "--"+flag, v[1])); got != v[1] {
				t.Errorf("--%s %s beside %s=%s: got %s", flag, v[1], variable(flag), v[0], got)
			}
		})
	}
}

// The defaults are the outside contract.
func TestSettingsDefaults(t *testing.T) {
	t.Parallel()
	got, err := app.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	want := &app.Settings{
		Config: "/etc/bellhop/config", Secrets: "/etc/bellhop/secrets", Listen: ":8080", AdminListen: ":9090",
		Queue: "file:///var/lib/bellhop/queue", MaxBody: 25 << 20, RetentionAge: 72 * time.Hour, RetentionBytes: 1 << 30,
		OrphanGrace: 24 * time.Hour, LogLevel: slog.LevelInfo, LogFormat: app.LogJSON,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := got.Check(); err != nil {
		t.Errorf("the defaults are wrong: %v", err)
	}
}

// Variables of other programs are not Bellhop's: LISTEN and CONFIG are in many environments.
func TestSettingsNeedThePrefix(t *testing.T) {
	t.Setenv("LISTEN", ":1")
	t.Setenv("CONFIG", "other")
	s, err := app.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != ":8080" || s.Config != "/etc/bellhop/config" {
		t.Errorf("listen %s, config %s", s.Listen, s.Config)
	}
}

func TestSettingsThatDoNotGoTogether(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]app.Settings{
		"tls-cert-file and tls-key-file": {MaxBody: 1, TLSCertFile: "cert"},
		"receivers and notifiers":        {MaxBody: 1, Receivers: -1},
		"max-body":                       {},
		"retention-age":                  {MaxBody: 1, RetentionAge: -1},
		"orphan-grace":                   {MaxBody: 1, OrphanGrace: -1},
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to speak of %s", err, want)
		}
	}
}
