package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/test/e2e/image"
)

// read returns an archive's files and directories in order, and the contents of the files.
func read(t *testing.T, archive []byte) (lines []string, contents map[string][]byte) {
	t.Helper()
	contents = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %o %d:%d", h.Name, h.Mode, h.Uid, h.Gid))
	}
}

// TestTheProjectsDockerfile reads the image back.
func TestTheProjectsDockerfile(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "bellhop")
	if err := os.WriteFile(program, []byte("a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	img := image.Image{
		Ref: "localhost/bellhop:test", Dockerfile: string(dockerfile), Args: map[string]string{"VERSION": "1.2.3"},
		Built: map[string]string{
			"/etc/ssl/certs/ca-certificates.crt": "image.go", "/src/LICENSE": "image.go", "/out/bellhop": program,
			"/out/root/etc/bellhop/config/": "", "/out/root/etc/bellhop/secrets/": "", "/out/root/var/lib/bellhop/": "",
		},
	}
	var first, second bytes.Buffer
	if err := errors.Join(img.Write(&first), img.Write(&second)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same image has other bytes")
	}

	_, files := read(t, first.Bytes())
	var index []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &index); err != nil || len(index) != 1 || len(index[0].Layers) != 1 {
		t.Fatalf("manifest.json: %v\n%s", err, files["manifest.json"])
	}
	if !slices.Equal(index[0].RepoTags, []string{"localhost/bellhop:test"}) {
		t.Errorf("tags: %q", index[0].RepoTags)
	}
	var cfg struct {
		Config struct {
			User            string
			Entrypoint, Cmd []string
			ExposedPorts    map[string]struct{}
			Volumes         map[string]struct{}
			Labels          map[string]string
		} `json:"config"`
	}
	if err := json.Unmarshal(files[index[0].Config], &cfg); err != nil {
		t.Fatal(err)
	}
	c := cfg.Config
	_, hook := c.ExposedPorts["8080/tcp"]
	_, admin := c.ExposedPorts["9090/tcp"]
	_, volume := c.Volumes["/var/lib/bellhop"]
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/bellhop"}) || !slices.Equal(c.Cmd, []string{"serve"}) || !hook || !admin || !volume {
		t.Errorf("configuration: %+v", c)
	}
	if c.Labels["org.opencontainers.image.version"] != "1.2.3" || c.Labels["org.opencontainers.image.revision"] != "unknown" ||
		!strings.Contains(c.Labels["org.opencontainers.image.description"], " ") {
		t.Errorf("labels: %q", c.Labels)
	}

	layer, contents := read(t, files[index[0].Layers[0]])
	want := []string{
		"LICENSE 644 0:0",
		"bellhop 755 0:0",
		"etc/ 755 65532:65532",
		"etc/bellhop/ 755 65532:65532",
		"etc/bellhop/config/ 755 65532:65532",
		"etc/bellhop/secrets/ 755 65532:65532",
		"etc/ssl/ 755 0:0",
		"etc/ssl/certs/ 755 0:0",
		"etc/ssl/certs/ca-certificates.crt 644 0:0",
		"var/ 755 65532:65532",
		"var/lib/ 755 65532:65532",
		"var/lib/bellhop/ 755 65532:65532",
	}
	if !slices.Equal(layer, want) {
		t.Errorf("layer:\n%s", strings.Join(layer, "\n"))
	}
	if string(contents["bellhop"]) != "a program" {
		t.Errorf("the program is %q", contents["bellhop"])
	}
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ dockerfile, want string }{
		"no stage":            {"", "FROM scratch"},
		"not from scratch":    {"FROM debian\nUSER 1\n", "FROM scratch"},
		"unknown instruction": {"FROM scratch\nRUN true\n", "RUN"},
		"unknown flag":        {"FROM scratch\nCOPY --chmod=700 a /a\n", "--chmod"},
		"nothing built":       {"FROM scratch\nCOPY b /b\n", "nothing was built at b"},
		"a named owner":       {"FROM scratch\nCOPY --chown=root:root a /a\n", "--chown"},
		"two sources":         {"FROM scratch\nCOPY a b /c\n", "3 operands"},
		"shell form":          {"FROM scratch\nENTRYPOINT /a\n", "ENTRYPOINT"},
		"a bare label":        {"FROM scratch\nLABEL a=b\n", "KEY="},
		"no such file":        {"FROM scratch\nCOPY gone /gone\n", "no such file"},
	} {
		built := map[string]string{"a": "image.go", "gone": filepath.Join(t.TempDir(), "gone")}
		err := image.Image{Ref: "localhost/a:1", Dockerfile: tc.dockerfile, Built: built}.Write(io.Discard)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		}
	}
}
