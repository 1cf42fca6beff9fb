package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// command line in, exit code and outputs out.
func bellhopRun(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), bellhop.Catalog{}, args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func TestAPIToken(t *testing.T) {
	t.Parallel()
	const token = "s3cr3t-of-the-admin"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error": "the API needs the token"}`))
			return
		}
		_, _ = w.Write([]byte(`{"items": [], "next": ""}`))
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	if code, _, errs := bellhopRun(t, "events", "--server", server.URL); code != exitError || errs != "bellhop: the API needs the token\n" {
		t.Errorf("without the token: got %d, %s", code, errs)
	}
	if code, _, errs := bellhopRun(t, "events", "--server", server.URL, "--token-file", file); code != exitOK || errs != "" {
		t.Errorf("with the token: got %d, %s", code, errs)
	}
	code, _, errs := bellhopRun(t, "events", "--server", server.URL, "--token-file", file+".none")
	if code != exitError || !strings.HasPrefix(errs, "bellhop: reading the token: open ") {
		t.Errorf("with a token file that is not there: got %d, %s", code, errs)
	}
}

// Whatever answers in the API's place is told from it.
func TestAPIAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"a page":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"not found":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"an odd list": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"items": 7}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			code, out, errs := bellhopRun(t, "dead", "--server", server.URL)
			if code != exitError || out != "" || !strings.Contains(errs, "is that the admin address?") {
				t.Errorf("got %d, %q, %q", code, out, errs)
			}
		})
	}
}

// Dead deliveries of one provider are changed page by page, what follows a page by its cursor.
func TestDeadOfAProviderInPages(t *testing.T) {
	t.Parallel()
	var retried []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/dead", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("provider") != "bot" {
			t.Errorf("asked for %v", q)
		}
		switch q.Get("cursor") {
		case "":
			_, _ = w.Write([]byte(`{"items": [{"id": "a.bot"}, {"id": "b.bot"}], "next": "2"}`))
		case "2":
			_, _ = w.Write([]byte(`{"items": [{"id": "c.bot"}], "next": ""}`))
		}
	})
	mux.HandleFunc("POST /api/v1/dead/retry", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			IDs []string `json:"ids"`
			All bool     `json:"all"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.All {
			t.Errorf("got %v, %v", in, err)
		}
		retried = append(retried, in.IDs...)
		_ = json.NewEncoder(w).Encode(map[string]int{"done": len(in.IDs)})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	code, out, errs := bellhopRun(t, "dead", "retry", "--server", server.URL, "--provider", "bot")
	if code != exitOK || out != "retried 3 deliveries\n" {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
	if got := strings.Join(retried, " "); got != "a.bot b.bot c.bot" {
		t.Errorf("retried %s", got)
	}
}

func TestOnScreen(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain é":                     "plain é",
		"a\nb\tc":                     "a b c",
		" \x1b[31mred\x1b[0m\x07\r\n": "[31mred[0m",
		"\x9b31m":                     "\ufffd31m",
		"\u009b31m\x00":               "31m",
	} {
		if got := onScreen(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
