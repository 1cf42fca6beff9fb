package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/flux"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// maxImported bounds a file of manifests.
const maxImported = 32 << 20

func (p *program) imports() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE… | -]",
		Short: "Turn Flux's Receivers, Providers and Alerts into a configuration of Bellhop",
		Long: `Import reads manifests of Flux's notification-controller from files, from the *.yaml, *.yml and *.json of
directories and those below, or from the standard input, and prints what they are in the form of bellhop.dev/v1.

What could not be carried over is said in comments at the top and on the standard error, followed by the
commands that make the files of the secrets. Receivers keep the URLs that they had. No Secret is printed.

Pasted into Bellhop's configuration, the same manifests mean the same; import is for those who want to leave
their form behind. Exit code 1: a manifest was left out, or something is wrong with one.`,
		Example: "  kubectl get receivers,providers,alerts -A -o yaml | bellhop import > bellhop.yaml\n  bellhop import clusters/prod > bellhop.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := readManifests(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			if in.set.Empty() {
				in.tell(cmd)
				return errors.New("there are no manifests of Flux: name files that hold Receivers, Providers or Alerts")
			}
			native, steps, problems := in.set.Import(p.pushIdentity)
			in.problems = append(in.problems, problems...)
			comment := []string{"Made by bellhop import from manifests of Flux."}
			if lines := in.lines(); len(lines) > 0 {
				comment = append(append(comment, "Not carried over, or doubtful:"), lines...)
			}
			out, err := native.YAML(comment...)
			if err != nil {
				return fmt.Errorf("writing the configuration: %w", err)
			}
			if _, err := cmd.OutOrStdout().Write(out); err != nil {
				return err
			}
			in.tell(cmd)
			if len(steps) > 0 {
				cmd.PrintErrln("bellhop: make the secrets, with the name of their directory in BELLHOP_SECRETS:")
				for _, s := range steps {
					cmd.PrintErrln(s)
				}
			}
			if in.problems.Err() != nil {
				return errTold
			}
			return nil
		},
	}
	p.settingFlags(cmd, "secrets")
	return cmd
}

// pushIdentity reads what a configuration has of the Secret of a Receiver of type gcr, if that is mounted already.
func (p *program) pushIdentity(name string) map[string][]byte {
	keys := map[string][]byte{}
	for _, key := range []string{"audience", "email"} {
		value, err := os.ReadFile(filepath.Join(p.settings.Secrets, filepath.Base(name), key))
		if err != nil {
			return nil
		}
		keys[key] = value
	}
	return keys
}

// imported is what import read.
type imported struct {
	set      flux.Set
	problems bellhop.Problems
}

// readManifests reads files, directories and, for - or nothing at all, the standard input.
func readManifests(stdin io.Reader, args []string) (*imported, error) {
	in := &imported{}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for _, arg := range args {
		if err := in.open(stdin, arg); err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
	}
	return in, nil
}

func (in *imported) open(stdin io.Reader, arg string) error {
	if arg == "-" {
		return in.read("stdin", stdin)
	}
	if info, err := os.Stat(arg); err != nil {
		return err
	} else if !info.IsDir() {
		file, err := os.Open(arg)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		return in.read(arg, file)
	}
	root, err := os.OpenRoot(arg)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return in.walk(arg, root.FS())
}

// walk reads the manifests of a directory and of those below. Names with a dot in front are left out, kubelet's
// ..data among them.
func (in *imported) walk(dir string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			return nil
		}
		file, err := files.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		return in.read(filepath.Join(dir, path), file)
	})
}

// read adds the documents of a file. Those of other kinds are noted, and no harm.
func (in *imported) read(name string, r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxImported+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxImported {
		return fmt.Errorf("%s is larger than %d MiB", name, maxImported>>20)
	}
	docs, problems := strict.Parse(name, data)
	in.problems = append(in.problems, problems...)
	for _, doc := range docs {
		in.add(name, "", doc)
	}
	return nil
}

func (in *imported) add(file, path string, doc *yaml.Node) {
	var head struct {
		APIVersion string       `yaml:"apiVersion"`
		Kind       string       `yaml:"kind"`
		Items      []*yaml.Node `yaml:"items"`
	}
	problems := strict.DecodeKnown(file, path, doc, nil, &head)
	switch {
	case problems == nil && !flux.Speaks(head.APIVersion, head.Kind):
		problems = strict.Locate(file, path, doc, bellhop.Problems{bellhop.Doubtful("kind",
			"%q of %q is no manifest of Flux's notification-controller, and is left out", head.Kind, head.APIVersion)})
	case problems == nil && head.Kind == "List":
		for i, item := range head.Items {
			in.add(file, strict.Join(path, fmt.Sprintf("items[%d]", i)), item)
		}
	case problems == nil:
		problems = in.set.Add(file, path, doc)
	}
	in.problems = append(in.problems, problems...)
}

// lines are the problems, one a line.
func (in *imported) lines() []string {
	var lines []string
	for _, p := range in.problems {
		lines = append(lines, strings.Join(strings.Fields(p.String()), " "))
	}
	return lines
}

func (in *imported) tell(cmd *cobra.Command) {
	for _, line := range in.lines() {
		cmd.PrintErrln(line)
	}
}
