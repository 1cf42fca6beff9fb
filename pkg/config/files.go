package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sizes beyond which a file is refused: nobody writes such a configuration, and a wrong path should not
// fill the memory.
const (
	maxConfigFile = 32 << 20
	maxSecretFile = 1 << 20
)

// files reads everything that one Load needs, each file once, and remembers what it saw.
type files struct {
	config  string // a file or a directory
	secrets string // a directory; may be empty or missing
	overlay overlay

	read map[string]readFile // by path, those that were looked for in vain included
	dirs map[string][]string // by path, names that were seen
}

type readFile struct {
	data []byte
	info fs.FileInfo
	err  error
}

func newFiles(config, secrets string, over overlay) *files {
	return &files{config: config, secrets: secrets, overlay: over, read: map[string]readFile{}, dirs: map[string][]string{}}
}

// configFiles are the paths of the configuration's files, in name order.
func (f *files) configFiles() ([]string, error) {
	info, err := f.overlay.stat(f.config)
	if err != nil {
		return nil, cause(err)
	}
	if !info.IsDir() {
		return []string{f.config}, nil
	}
	names, err := f.list(f.config)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, name := range names {
		if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" {
			paths = append(paths, filepath.Join(f.config, name))
		}
	}
	return paths, nil
}

// list is the names of a directory's files, sorted; those with a dot in front are left out, kubelet's ..data
// among them. Symbolic links count as what they point to.
func (f *files) list(dir string) ([]string, error) {
	if names, ok := f.dirs[dir]; ok {
		return names, nil
	}
	names, err := f.overlay.list(dir)
	if err != nil {
		return nil, err
	}
	f.dirs[dir] = names
	return names, nil
}

func listFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, cause(err)
	}
	names := []string{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 {
			if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
				continue
			}
		}
		names = append(names, e.Name())
	}
	return names, nil
}

// content is a file's bytes. The same path is read once.
func (f *files) content(path string, limit int64) ([]byte, error) {
	if r, ok := f.read[path]; ok {
		return r.data, r.err
	}
	var r readFile
	r.data, r.info, r.err = f.overlay.read(path, limit)
	f.read[path] = r
	return r.data, r.err
}

var errIsDirectory = errors.New("is a directory, not a file")

func tooLarge(limit int64) error { return fmt.Errorf("is larger than %d MiB", limit>>20) }

// readRegular reads a plain file. It never waits for a pipe.
func readRegular(path string, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	switch {
	case info.IsDir():
		return nil, info, errIsDirectory
	case !info.Mode().IsRegular():
		return nil, info, errors.New("is no plain file")
	case info.Size() > limit:
		return nil, info, tooLarge(limit)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, info, cause(err)
	}
	defer func() { _ = file.Close() }()
	data := make([]byte, 0, info.Size()+1)
	for int64(len(data)) <= limit {
		n, err := file.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, info, nil
		}
		if err != nil {
			return nil, info, cause(err)
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
	return nil, info, tooLarge(limit)
}

// cause is a file system error without the path, which the message says in its own words.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// key reads a key file: beside the configuration file, then under the secrets. It returns the places where
// it looked.
func (f *files) key(configFile, keyPath string) (data []byte, looked []string, err error) {
	looked = append(looked, filepath.Join(filepath.Dir(configFile), keyPath))
	if f.secrets != "" {
		if p := filepath.Join(f.secrets, keyPath); p != looked[0] {
			looked = append(looked, p)
		}
	}
	for _, path := range looked {
		data, err = f.content(path, maxSecretFile)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, []string{path}, err
		}
	}
	return nil, looked, fs.ErrNotExist
}

// secret reads all keys of the Secret that is mounted at NAME under the secrets.
func (f *files) secret(name string) (map[string][]byte, error) {
	dir := filepath.Join(f.secrets, name)
	names, err := f.list(dir)
	if err != nil {
		return nil, err
	}
	secret := make(map[string][]byte, len(names))
	for _, key := range names {
		data, err := f.content(filepath.Join(dir, key), maxSecretFile)
		if err != nil {
			return nil, fmt.Errorf("reading its key %q: %w", key, err)
		}
		secret[key] = data
	}
	return secret, nil
}

// hash is a digest of the names and the bytes of all that was read, stored Secrets (by NAME/KEY) included. Names
// are relative, so that it is the same wherever the files are mounted.
func (f *files) hash(stored map[string][]byte) string {
	base := f.config
	if info, err := f.overlay.stat(base); err == nil && !info.IsDir() {
		base = filepath.Dir(base)
	}
	sum := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
		sum.Write(n[:])
		sum.Write(b)
	}
	for _, path := range slices.Sorted(maps.Keys(f.read)) {
		r := f.read[path]
		if r.err != nil {
			continue
		}
		name := path
		if rel, err := filepath.Rel(base, path); err == nil && filepath.IsLocal(rel) {
			name = "config/" + rel
		} else if rel, err := filepath.Rel(f.secrets, path); err == nil && filepath.IsLocal(rel) {
			name = "secrets/" + rel
		}
		field([]byte(name))
		field(r.data)
	}
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		field([]byte("secrets/" + name))
		field(stored[name])
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// moved reports whether anything is no longer as it was read: then what was read may be half old, half new.
func (f *files) moved() bool {
	for path, r := range f.read {
		info, err := f.overlay.stat(path)
		switch {
		case err != nil || r.info == nil:
			if (err != nil) != (r.info == nil) {
				return true
			}
		case info != r.info && !os.SameFile(info, r.info) || info.Size() != r.info.Size() || !info.ModTime().Equal(r.info.ModTime()):
			return true
		}
	}
	for dir, names := range f.dirs {
		if now, err := f.overlay.list(dir); err != nil || !slices.Equal(now, names) {
			return true
		}
	}
	return false
}

// paths are all files that were read or looked for.
func (f *files) paths() []string { return slices.Sorted(maps.Keys(f.read)) }
