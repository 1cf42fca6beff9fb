package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/bellhop-dev/bellhop/test/e2e/image"
)

// The images that TestMain makes and loads. A name of the local machine is never pulled.
const (
	repository = "localhost/bellhop"
	tag        = "e2e"
	peerImage  = "localhost/bellhop-peer:e2e"
)

// chartDir is the chart under test.
var chartDir = cmp.Or(os.Getenv("E2E_CHART"), "../../chart")

// provided says whether there is a cluster to test on.
var provided = os.Getenv("KUBECONFIG") != "" && os.Getenv("E2E_LOAD_IMAGE") != ""

func TestMain(m *testing.M) {
	if provided {
		if err := loadImages(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	measured.print()
	if provided {
		if _, err := run(context.Background(), "kubectl", "delete", "namespaces", "--selector=app.kubernetes.io/part-of="+suite, "--timeout="+patience.String()); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: waiting for the end of the namespaces:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// loadImages makes the image of the Dockerfile and that of the peer, and loads both.
func loadImages() error {
	dir, err := os.MkdirTemp("", "bellhop-e2e-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bellhop := os.Getenv("BELLHOP")
	if bellhop == "" {
		bellhop = filepath.Join(dir, "bellhop")
		if err := build(bellhop, "./cmd/bellhop"); err != nil {
			return err
		}
	}
	peer := filepath.Join(dir, "peer")
	if err := build(peer, "./test/e2e/peer/serve"); err != nil {
		return err
	}
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		return err
	}
	images := []image.Image{
		{
			Ref:        repository + ":" + tag,
			Dockerfile: string(dockerfile),
			Args:       map[string]string{"VERSION": tag},
			Built: map[string]string{
				"/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
				"/src/LICENSE":                       "../../LICENSE",
				"/out/bellhop":                       bellhop,
				"/out/root/etc/bellhop/config/":      "",
				"/out/root/etc/bellhop/secrets/":     "",
				"/out/root/var/lib/bellhop/":         "",
			},
		},
		{
			Ref:        peerImage,
			Dockerfile: "FROM scratch\nCOPY peer /peer\nUSER 65532:65532\nENTRYPOINT [\"/peer\"]\n",
			Built:      map[string]string{"peer": peer},
		},
	}
	for i, img := range images {
		if err := load(img, filepath.Join(dir, fmt.Sprintf("image-%d.tar", i))); err != nil {
			return fmt.Errorf("image %s: %w", img.Ref, err)
		}
	}
	return nil
}

// build builds as `make build` does, so that the compiler's cache serves both.
func build(program, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, pkg)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func load(img image.Image, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := errors.Join(img.Write(f), f.Close()); err != nil {
		return err
	}
	command := append(strings.Fields(os.Getenv("E2E_LOAD_IMAGE")), file)
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("E2E_LOAD_IMAGE: %w\n%s", err, out)
	}
	return nil
}

// figures are what the tests measured, in the order in which they did.
type figures struct {
	mu   sync.Mutex
	rows [][3]string
}

var measured figures

// add books a figure of a test.
func (f *figures) add(t *testing.T, name string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, [3]string{t.Name(), name, fmt.Sprint(value)})
}

func (f *figures) print() {
	if len(f.rows) == 0 {
		return
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i, row := range f.rows {
		test := row[0]
		if i > 0 && f.rows[i-1][0] == test {
			test = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", test, row[1], row[2])
	}
	_ = w.Flush() // into memory
	fmt.Printf("\n%s\n", b.String())
}
