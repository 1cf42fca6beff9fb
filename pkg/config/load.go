package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/flux"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

// Loader makes snapshots from files.
type Loader struct {
	// Config is a file, or a directory whose *.yaml and *.yml count as one configuration.
	Config string
	// Secrets is the directory of key files and of mounted Secrets, NAME/KEY. It may be empty or missing.
	Secrets string
	// Store holds the Secrets in place of that directory, which is not looked at then; nil: the directory does.
	// A keyPath that is no file beside the configuration means a key of them: NAME/KEY that of the Secret NAME,
	// a bare KEY that of the only Secret with it that is labelled as Bellhop's configuration.
	Store SecretStore
	// Catalog is what sources and providers there are.
	Catalog bellhop.Catalog
	// Logger is handed to sources and providers. nil: they are silent.
	Logger *slog.Logger
	// Client makes a provider's client; nil: httpsend.NewClient.
	Client func(httpsend.Options) (*http.Client, error)
	// Issuers verify the tokens of OIDC issuers. nil: the Loader makes its own, which fetch nothing before a
	// token is to be verified.
	Issuers bellhop.Issuers
	// Cluster is the Kubernetes API. nil: there is none, and a delivery that needs it fails with words that say so.
	Cluster bellhop.Cluster
	// Installation tells this installation of Bellhop from others, see bellhop.Setup; it is asked at each Load. nil:
	// nothing does.
	Installation func() string

	// overlay is in place of some of the files; see Over.
	overlay overlay
	// looked is where the last Load looked for files.
	looked atomic.Pointer[[]string]
	// issuers stand in for nil Issuers.
	issuers     bellhop.Issuers
	issuersOnce sync.Once
}

// attempts bounds how often a Load begins again because the files moved under it, each time after a pause
// that is longer by patience: under half a second in all.
const (
	attempts = 20
	patience = 2 * time.Millisecond
)

// Load reads, checks and builds the configuration. It changes nothing and starts nothing. The problems are
// all there are, in the order of the files; the snapshot may be used to serve only if none is fatal. What is
// whole of a broken one is in it all the same, for those who just look.
//
// A Load that files moved under begins again, so that no snapshot is half old, half new. If they never hold
// still that is a fatal problem.
func (l *Loader) Load() (*Snapshot, bellhop.Problems) {
	for i := range attempts {
		<-time.After(time.Duration(i) * patience)
		load := l.begin()
		snapshot := load.run()
		looked := load.files.paths()
		l.looked.Store(&looked)
		if !load.moved() {
			return snapshot, load.sorted()
		}
	}
	return NewSnapshot("", nil, nil, nil), bellhop.Problems{{File: l.Config, Message: "the files change while they are read: let them rest"}}
}

// Paths are what to watch for changes: the configuration, the secrets, and every file that the last Load
// looked for.
func (l *Loader) Paths() []string {
	paths := []string{l.Config}
	if l.Secrets != "" && l.Store == nil {
		paths = append(paths, l.Secrets)
	}
	if looked := l.looked.Load(); looked != nil {
		paths = append(paths, *looked...)
	}
	return paths
}

// load is one Load under way.
type load struct {
	*Loader
	files    *files
	stored   *storedSecrets // nil: Secrets are files
	problems bellhop.Problems
	// order is the files' places in the order of the problems.
	order map[string]int

	model     model
	manifests flux.Set
	// secrets are the Secrets read so far.
	secrets map[string]mounted
	// What is taken, and where: names and fingerprints.
	endpoints   map[string]place
	providers   map[string]place
	fingerprint map[string]place
	// suspended are the providers that routes pass by.
	suspended map[string]bool
	// names are the endpoints', sorted.
	names []string
}

type mounted struct {
	keys map[string][]byte
	err  error
	// written: it is not mounted, but written among the manifests.
	written bool
}

// model is what the documents of all dialects say, in the order of the files.
type model struct {
	endpoints []*endpointSpec
	providers []*providerSpec
	routes    []*routeSpec
}

// place is where something is written.
type place struct {
	file, path string
	node       *yaml.Node
}

// problem makes a fatal problem of something at path inside p.
func (p place) problem(path, format string, args ...any) bellhop.Problem {
	return p.locate(bellhop.Problems{bellhop.Wrong(path, format, args...)})[0]
}

// warning makes a warning about something at path inside p.
func (p place) warning(path, format string, args ...any) bellhop.Problem {
	return p.locate(bellhop.Problems{bellhop.Doubtful(path, format, args...)})[0]
}

func (p place) locate(ps bellhop.Problems) bellhop.Problems {
	return strict.Locate(p.file, p.path, p.node, ps)
}

func (p place) position() bellhop.Problem {
	return bellhop.Problem{File: p.file, Line: p.node.Line, Col: p.node.Column, Path: p.path}
}

// String is what a message calls the place.
func (p place) String() string {
	return fmt.Sprintf("%s:%d:%d %s", p.file, p.node.Line, p.node.Column, p.path)
}

func (l *Loader) begin() *load {
	secrets, stored := l.Secrets, (*storedSecrets)(nil)
	if l.Store != nil {
		secrets, stored = "", &storedSecrets{SecretStore: l.Store, read: map[string][]byte{}}
	}
	return &load{
		Loader:      l,
		files:       newFiles(l.Config, secrets, l.overlay),
		stored:      stored,
		order:       map[string]int{},
		secrets:     map[string]mounted{},
		endpoints:   map[string]place{},
		providers:   map[string]place{},
		fingerprint: map[string]place{},
		suspended:   map[string]bool{},
	}
}

// report notes problems. What is wrong with the translation of a manifest has the path that the manifest has.
func (l *load) report(ps ...bellhop.Problem) {
	for _, p := range ps {
		p.Path = flux.Path(p.Path)
		l.problems = append(l.problems, p)
	}
}

// moved reports whether anything is no longer as it was read.
func (l *load) moved() bool { return l.files.moved() || l.stored != nil && l.stored.moved() }

// reportMissing notes a problem with a key that may only be late: KEY, or NAME/KEY of a Secret.
func (l *load) reportMissing(key string, p bellhop.Problem) {
	p.MissingKey = key
	l.report(p)
}

func (l *load) run() *Snapshot {
	if l.stored != nil {
		if err := l.stored.open(); err != nil {
			l.report(bellhop.Problem{Message: err.Error()})
		}
	}
	l.readDocuments()
	l.readManifests()
	l.nameEndpoints()
	l.names = sortedKeys(l.endpoints)
	l.nameProviders()
	rules := l.buildRules()
	plan := l.plans(rules)
	var providers []*Provider
	for _, spec := range l.model.providers {
		if p := l.buildProvider(spec); p != nil {
			providers = append(providers, p)
		}
	}
	var endpoints []*Endpoint
	for _, spec := range l.model.endpoints {
		if ep := l.buildEndpoint(spec); ep != nil {
			ep.Plan = plan(spec)
			endpoints = append(endpoints, ep)
		}
	}
	l.checkUse(rules, plan)
	l.checkStatuses(rules, providers)
	var named []*route.Rule
	for _, r := range rules {
		if r.spec != nil {
			named = append(named, r.Rule)
		}
	}
	return NewSnapshot(l.hash(), endpoints, providers, named)
}

// hash is a digest of all that was read.
func (l *load) hash() string {
	if l.stored == nil {
		return l.files.hash(nil)
	}
	return l.files.hash(l.stored.read)
}

func (l *load) readDocuments() {
	paths, err := l.files.configFiles()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.report(bellhop.Problem{File: l.Config, Message: "no such file or directory: name the configuration with --config or BELLHOP_CONFIG"})
	case err != nil:
		l.report(bellhop.Problem{File: l.Config, Message: "reading the configuration: " + err.Error()})
	}
	for i, path := range paths {
		l.order[path] = i
		data, err := l.files.content(path, maxConfigFile)
		if err != nil {
			l.report(bellhop.Problem{File: path, Message: "reading the configuration: " + err.Error()})
			continue
		}
		docs, ps := strict.Parse(path, data)
		l.report(ps...)
		for _, doc := range docs {
			l.readDocument(place{path, "", doc})
		}
	}
}

// sorted are the problems in the order of the files and their lines; those without a line come last.
func (l *load) sorted() bellhop.Problems {
	line := func(p bellhop.Problem) int {
		if p.Line == 0 {
			return 1 << 30
		}
		return p.Line
	}
	file := func(p bellhop.Problem) int {
		if i, ok := l.order[p.File]; ok {
			return i
		}
		return len(l.order)
	}
	slices.SortStableFunc(l.problems, func(a, b bellhop.Problem) int {
		return cmp.Or(cmp.Compare(file(a), file(b)), cmp.Compare(line(a), line(b)), cmp.Compare(a.Col, b.Col))
	})
	return l.problems
}
