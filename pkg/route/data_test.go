package route

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var update = flag.Bool("update", false, "rewrite the results in testdata")

// A file of testdata holds the event (event.json), its payload (body), and cases: expressions or templates,
// each followed by a line that begins with => and says what comes of it.
func testData(t *testing.T, pattern string, result func(e *bellhop.Event, source string) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			e := &bellhop.Event{}
			for i, f := range archive.Files {
				switch f.Name {
				case "event.json":
					if err := json.Unmarshal(f.Data, e); err != nil {
						t.Fatal(err)
					}
				case "body":
					e.Raw = f.Data
				case "cases":
					got := runCases(string(f.Data), func(source string) string { return result(e, source) })
					if *update {
						archive.Files[i].Data = []byte(got)
					} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
						t.Errorf("-want +got (-update rewrites):\n%s", diff)
					}
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func runCases(cases string, result func(string) string) string {
	var out, source strings.Builder
	told := false // the result of the case has been written
	for line := range strings.Lines(cases) {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
			out.WriteString(line)
		case strings.HasPrefix(line, "=>"):
			if told {
				continue
			}
			told = true
			s := strings.TrimSuffix(source.String(), "\n")
			for r := range strings.Lines(result(s)) {
				out.WriteString("=> " + strings.TrimSuffix(r, "\n") + "\n")
			}
			source.Reset()
		default:
			told = false
			out.WriteString(line)
			source.WriteString(line)
		}
	}
	return out.String()
}
