package rig

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles a command's package, such as ./cmd/bellhop or one of a module that go.mod requires, into the
// directory and returns the program's path. It builds as `make build` does, so that the compiler's cache
// serves both.
func Build(ctx context.Context, pkg, name, dir string) (program string, err error) {
	program = filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, output)
	}
	return program, nil
}

// LookAt looks at all files below the directories. The go command remembers what a test looked at: called
// from a test that uses a program, with the program's sources, it has the test run again when they change.
func LookAt(dirs ...string) error {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
