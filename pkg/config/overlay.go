package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Overlay is what a configuration is to be read with although it is not in place yet.
type Overlay struct {
	// Config are the configuration's files by name, in place of all that is there; nil: what is there.
	Config map[string][]byte
	// Secrets are Secrets by name, in place of the mounted or stored ones; a nil one is not there. They count as
	// labelled. The files right in the directory of secrets have the name "": of them, only those that are
	// given are replaced, and a nil one is not there.
	Secrets map[string]map[string][]byte
}

// Over is a silent Loader that reads what l reads, but for what the overlay says. Nothing is written anywhere. Files
// of the overlay's configuration are called by their names alone.
func (l *Loader) Over(o Overlay) *Loader {
	over := &Loader{
		Config: l.Config, Secrets: l.Secrets, Store: l.Store, Catalog: l.Catalog, Client: l.Client,
		Issuers: l.Issuers, Cluster: l.Cluster, Installation: l.Installation,
	}
	if over.Issuers == nil {
		over.Issuers = l.ownIssuers()
	}
	if over.Store != nil {
		over.Store = storeOver{over.Store, o.Secrets}
	}
	if abs, err := filepath.Abs(l.Secrets); err == nil && l.Secrets != "" {
		over.Secrets = abs // relative paths are the overlay's
	}
	over.overlay = o.files(over.Secrets)
	if o.Config != nil {
		over.Config = "."
	}
	return over
}

// overlay answers for some paths in place of the disk. The zero one answers for none.
type overlay struct {
	// local: it answers for all relative paths.
	local bool
	// below are the directories for whose whole content it answers.
	below []string
	// files are those there are, directories with their names; nil: there is none at the path.
	files map[string]*overlaid
}

// overlaid is a file or a directory of an overlay, and its own fs.FileInfo.
type overlaid struct {
	name  string
	data  []byte
	dir   bool
	names []string // a directory's, sorted
}

// Name is the last element of its path.
func (f *overlaid) Name() string { return f.name }

// Size is its length in bytes.
func (f *overlaid) Size() int64 { return int64(len(f.data)) }

// ModTime is zero: it never changes.
func (f *overlaid) ModTime() time.Time { return time.Time{} }

// IsDir tells directories.
func (f *overlaid) IsDir() bool { return f.dir }

// Sys is nil.
func (f *overlaid) Sys() any { return nil }

// Mode is that of a plain file or a directory, readable only.
func (f *overlaid) Mode() fs.FileMode {
	if f.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (o Overlay) files(secrets string) overlay {
	over := overlay{files: map[string]*overlaid{}}
	directory := func(dir string, content map[string][]byte) {
		names := slices.DeleteFunc(sortedKeys(content), func(name string) bool { return strings.HasPrefix(name, ".") })
		over.files[dir] = &overlaid{name: filepath.Base(dir), dir: true, names: names}
		for name, data := range content {
			over.files[filepath.Join(dir, name)] = &overlaid{name: name, data: data}
		}
	}
	if o.Config != nil {
		over.local = true
		directory(".", o.Config)
	}
	if secrets == "" {
		return over
	}
	for name, keys := range o.Secrets {
		dir := filepath.Join(secrets, name)
		switch {
		case name == "":
			for key, data := range keys {
				path := filepath.Join(dir, key)
				over.files[path] = nil
				if data != nil {
					over.files[path] = &overlaid{name: key, data: data}
				}
			}
		case keys == nil:
			over.files[dir] = nil
			over.below = append(over.below, dir)
		default:
			directory(dir, keys)
			over.below = append(over.below, dir)
		}
	}
	return over
}

// find is what the overlay has at path; mine reports whether it answers for the path at all.
func (o overlay) find(path string) (file *overlaid, mine bool) {
	path = filepath.Clean(path)
	if file, mine = o.files[path]; mine {
		return file, true
	}
	inside := func(dir string) bool { return strings.HasPrefix(path, dir+string(filepath.Separator)) }
	return nil, o.local && !filepath.IsAbs(path) || slices.ContainsFunc(o.below, inside)
}

func (o overlay) stat(path string) (fs.FileInfo, error) {
	file, mine := o.find(path)
	switch {
	case !mine:
		return os.Stat(path)
	case file == nil:
		return nil, fs.ErrNotExist
	}
	return file, nil
}

func (o overlay) list(dir string) ([]string, error) {
	file, mine := o.find(dir)
	switch {
	case !mine:
		return listFiles(dir)
	case file == nil:
		return nil, fs.ErrNotExist
	case !file.dir:
		return nil, errors.New("is a file, not a directory")
	}
	return file.names, nil
}

func (o overlay) read(path string, limit int64) ([]byte, fs.FileInfo, error) {
	file, mine := o.find(path)
	switch {
	case !mine:
		return readRegular(path, limit)
	case file == nil:
		return nil, nil, fs.ErrNotExist
	case file.dir:
		return nil, file, errIsDirectory
	case file.Size() > limit:
		return nil, file, tooLarge(limit)
	}
	return file.data, file, nil
}

// storeOver is a SecretStore of which some Secrets are others. What cannot be read yet counts as not there.
type storeOver struct {
	SecretStore
	secrets map[string]map[string][]byte
}

// Ready is nil: see storeOver.
func (s storeOver) Ready() error {
	_ = s.SecretStore.Ready() // it waits for what can be waited for
	return nil
}

// Secret is the overlay's, else the store's.
func (s storeOver) Secret(name string) (map[string][]byte, bool) {
	if keys, mine := s.secrets[name]; mine {
		return keys, keys != nil
	}
	return s.SecretStore.Secret(name)
}

// WithKey counts the overlay's Secrets as labelled.
func (s storeOver) WithKey(key string) []string {
	names := slices.DeleteFunc(slices.Clone(s.SecretStore.WithKey(key)), func(name string) bool {
		_, mine := s.secrets[name]
		return mine
	})
	for _, name := range slices.Sorted(maps.Keys(s.secrets)) {
		if _, has := s.secrets[name][key]; has && name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
