// Package image writes container images as archives, in the form of `docker save`, without a daemon and
// without a registry. It reads the last stage of a Dockerfile, so that the image that the tests run is the one
// that the Dockerfile describes.
//
// https://github.com/moby/docker-image-spec/blob/main/spec.md
package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

// Image is what to write.
type Image struct {
	// Ref is the name, such as localhost/bellhop:e2e.
	Ref string
	// Dockerfile is the text of one whose last stage is FROM scratch, and Args are values for its ARGs.
	Dockerfile string
	Args       map[string]string
	// Built are the files that COPY takes, by their absolute path in the earlier stage. The values are files of this machine; a path
	// that ends in / is an empty directory, and its value does not count.
	Built map[string]string
}

// config is the part of an image's configuration that a Dockerfile says.
type config struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
}

// entry is a file or directory of the layer.
type entry struct {
	from     string // a file of this machine; empty for a directory
	uid, gid int
}

// Write writes the archive. The same input gives the same bytes.
func (i Image) Write(w io.Writer) error {
	cfg, entries, err := i.read()
	if err != nil {
		return err
	}
	layer, err := pack(entries)
	if err != nil {
		return err
	}
	diff := sum(layer)
	manifest, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       cfg,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + diff}},
	})
	if err != nil {
		return err
	}
	name := sum(manifest) + ".json"
	index, err := json.Marshal([]map[string]any{
		{"Config": name, "RepoTags": []string{i.Ref}, "Layers": []string{diff + "/layer.tar"}},
	})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range []struct {
		name    string
		content []byte
	}{{name, manifest}, {diff + "/layer.tar", layer}, {"manifest.json", index}} {
		if err := out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))}); err != nil {
			return err
		}
		if _, err := out.Write(f.content); err != nil {
			return err
		}
	}
	return out.Close()
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// read follows the instructions of the last stage. One that it does not know is an error: the image would be
// another one than the Dockerfile's.
func (i Image) read() (cfg config, entries map[string]entry, err error) {
	var args map[string]string
	expand := func(name string) string { return args[name] }
	for line := range instructions(i.Dockerfile) {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if word == "FROM" {
			cfg, entries, args = config{}, map[string]entry{}, map[string]string{}
			if rest != "scratch" {
				entries = nil // an earlier stage: its instructions have run
			}
			continue
		}
		if entries == nil {
			continue
		}
		switch word {
		case "ARG":
			for arg := range strings.FieldsSeq(rest) {
				name, value, _ := strings.Cut(arg, "=")
				if given, ok := i.Args[name]; ok {
					value = given
				}
				args[name] = value
			}
		case "LABEL":
			cfg.Labels, err = labels(os.Expand(rest, expand))
		case "COPY":
			err = i.copy(entries, rest)
		case "USER":
			cfg.User = rest
		case "VOLUME":
			cfg.Volumes = set(strings.Fields(rest), "")
		case "EXPOSE":
			cfg.ExposedPorts = set(strings.Fields(rest), "/tcp")
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(rest), &cfg.Entrypoint)
		case "CMD":
			err = json.Unmarshal([]byte(rest), &cfg.Cmd)
		default:
			err = fmt.Errorf("instruction %s is not known", word)
		}
		if err != nil {
			return config{}, nil, fmt.Errorf("reading the Dockerfile, %q: %w", line, err)
		}
	}
	if entries == nil {
		return config{}, nil, fmt.Errorf("the Dockerfile's last stage is not FROM scratch")
	}
	return cfg, entries, nil
}

// instructions yields a Dockerfile's lines without comments, continued ones as one.
func instructions(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		whole := ""
		for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
			line := strings.TrimSpace(s.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			head, continued := strings.CutSuffix(line, `\`)
			if whole += head; continued {
				continue
			}
			if !yield(whole) {
				return
			}
			whole = ""
		}
	}
}

// labels reads KEY="VALUE" pairs, separated by spaces.
func labels(text string) (map[string]string, error) {
	found := map[string]string{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		key, rest, ok := strings.Cut(text, `="`)
		value, after, closed := strings.Cut(rest, `"`)
		if !ok || !closed {
			return nil, fmt.Errorf(`a label is not KEY="VALUE"`)
		}
		found[key], text = value, after
	}
	return found, nil
}

func set(words []string, suffix string) map[string]struct{} {
	m := map[string]struct{}{}
	for _, word := range words {
		m[word+suffix] = struct{}{}
	}
	return m
}

// copy does what COPY [--from=STAGE] [--chown=UID:GID] FROM TO asks for.
func (i Image) copy(entries map[string]entry, line string) error {
	words := strings.Fields(line)
	var e entry
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		switch name, value, _ := strings.Cut(words[0], "="); name {
		case "--from":
		case "--chown":
			if _, err := fmt.Sscanf(value, "%d:%d", &e.uid, &e.gid); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		default:
			return fmt.Errorf("flag %s is not known", name)
		}
		words = words[1:]
	}
	if len(words) != 2 {
		return fmt.Errorf("COPY has %d operands, not 2", len(words))
	}
	from, to := words[0], words[1]
	found := false
	for built, file := range i.Built {
		rest, ok := strings.CutPrefix(built, from)
		if !ok || rest != "" && !strings.HasSuffix(from, "/") {
			continue
		}
		found = true
		target := e
		if !strings.HasSuffix(built, "/") {
			target.from = file
		}
		name := strings.Trim(path.Join(to, rest), "/")
		if rest != "" { // what lies between has the same owner
			for dir := path.Dir(name); len(dir) > len(strings.Trim(to, "/")) && dir != "."; dir = path.Dir(dir) {
				entries[dir] = e
			}
		}
		entries[name] = target
	}
	if !found {
		return fmt.Errorf("nothing was built at %s", from)
	}
	return nil
}

// pack makes the layer.
func pack(entries map[string]entry) ([]byte, error) {
	all := maps.Clone(entries)
	for name := range entries {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = entry{}
			}
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(all)) { // a directory sorts before what it holds
		e := all[name]
		h := &tar.Header{Name: name, Uid: e.uid, Gid: e.gid, Mode: 0o755, Typeflag: tar.TypeDir}
		var content []byte
		if e.from != "" {
			info, err := os.Stat(e.from)
			if err != nil {
				return nil, err
			}
			if content, err = os.ReadFile(e.from); err != nil {
				return nil, err
			}
			h.Typeflag, h.Size, h.Mode = tar.TypeReg, int64(len(content)), 0o644
			if info.Mode()&0o111 != 0 {
				h.Mode = 0o755
			}
		} else {
			h.Name += "/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
