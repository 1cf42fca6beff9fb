package jetstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Options for Open. The zero value is usable, and keeps all history.
type Options struct {
	// RetentionAge and RetentionBytes bound the history; zero and below mean no bound.
	RetentionAge   time.Duration
	RetentionBytes bellhop.Size
	// Preserve drops nothing while the queue is open; RetentionAge is for what the server drops later.
	Preserve bool
	// Logger is nil for none.
	Logger *slog.Logger

	timing
	// now is the clock of retention, for tests.
	now func() time.Time
}

// Defaults of what the URL leaves out.
const (
	DefaultPrefix     = "bellhop"
	DefaultDuplicates = 24 * time.Hour
)

// timing is how long things take. Tests take less.
type timing struct {
	// ackWait is how long a delivery is ours without a sign of life. Then others get it.
	ackWait time.Duration
	// pinned is how long we own a provider without a pull. It is longer than ackWait, so that whoever owns it
	// next finds what we held before what is newer.
	pinned time.Duration
	// pull is how long a pull waits, and how often signs of life are given.
	pull time.Duration
	// quiet is how long nothing of what comes back to a new owner must come for all of it to be here; it is less than pull.
	quiet time.Duration
	// idle and gone are how long a provider without takers stays ours: when its takers may be back, and when
	// they were sent away.
	idle, gone time.Duration
	// patience bounds every answer of the server.
	patience time.Duration
	// look is how often the streams are looked at, sweep how often the history is shortened.
	look, sweep time.Duration
	// start is how long Open waits for a server that cannot be reached, before it goes on without.
	start time.Duration
}

var standard = timing{
	ackWait: 6 * time.Second, pinned: 9 * time.Second, pull: 1500 * time.Millisecond, quiet: 100 * time.Millisecond,
	idle: 45 * time.Second, gone: 2 * time.Second, patience: 5 * time.Second,
	look: time.Second, sweep: time.Minute, start: 5 * time.Second,
}

// settings are what the URL says.
type settings struct {
	servers    []string
	secure     bool
	prefix     names
	replicas   int // 0 if the URL does not say
	maxBytes   bellhop.Size
	duplicates time.Duration

	user, password, token string // in the URL; else the files below
	files                 map[string]string
}

// fileParameters name files that are read at every connect, so that what is in them may change.
var fileParameters = []string{"creds", "nkey", "token", "password", "ca", "cert", "key"}

var prefixes = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// parameters read what stands behind the question mark of the URL.
var parameters = map[string]func(s *settings, v string) error{
	"prefix": func(s *settings, v string) error {
		if !prefixes.MatchString(v) {
			return errors.New("write up to 32 lower-case letters, digits, dashes and underscores, such as bellhop")
		}
		s.prefix = names(v)
		return nil
	},
	"replicas": func(s *settings, v string) (err error) {
		if s.replicas, err = strconv.Atoi(v); err != nil || s.replicas < 1 || s.replicas > 5 {
			return errors.New("write how many servers keep each message, 1 to 5; 3 survives the loss of one")
		}
		return nil
	},
	"maxBytes": func(s *settings, v string) error {
		if err := s.maxBytes.UnmarshalText([]byte(v)); err != nil || s.maxBytes <= 0 {
			return errors.New("write a size such as 10GiB")
		}
		return nil
	},
	"duplicates": func(s *settings, v string) (err error) {
		if s.duplicates, err = time.ParseDuration(v); err != nil || s.duplicates < 100*time.Millisecond {
			return errors.New("write how long repeated deliveries are recognised, such as 24h")
		}
		return nil
	},
	"user": func(s *settings, v string) error {
		s.user = v
		return nil
	},
}

// parseURL reads nats://[user:password@]host[:port][,host…][?parameter=…]. Its errors never repeat what may be
// secret.
func parseURL(u *url.URL) (*settings, error) {
	s := &settings{secure: u.Scheme == "tls", prefix: DefaultPrefix, duplicates: DefaultDuplicates, files: map[string]string{}}
	if strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("queue %s: a path means nothing to NATS; a prefix is written ?prefix=%s", shown(u), strings.Trim(u.Path, "/"))
	}
	for host := range strings.SplitSeq(u.Host, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), "4222"
		}
		if n, err := strconv.ParseUint(port, 10, 16); name == "" || err != nil || n == 0 {
			return nil, fmt.Errorf("queue %s: %q is no server; write host:port, several with commas between", shown(u), host)
		}
		s.servers = append(s.servers, u.Scheme+"://"+net.JoinHostPort(name, port))
	}
	if u.User != nil {
		var withPassword bool
		s.user = u.User.Username()
		if s.password, withPassword = u.User.Password(); !withPassword {
			s.user, s.token = "", s.user
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("queue %s: its parameters cannot be read: write name=value, with & between", shown(u))
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := query.Get(name)
		switch set, known := parameters[name]; {
		case slices.Contains(fileParameters, name):
			if !strings.HasPrefix(value, "/") {
				return nil, fmt.Errorf("queue %s: %s: write the absolute name of a file", shown(u), name)
			}
			s.files[name] = value
		case !known:
			known := slices.Sorted(maps.Keys(parameters))
			nearest, ok := bellhop.Nearest(name, append(known, fileParameters...))
			if !ok {
				nearest = strings.Join(append(known, fileParameters...), ", ")
			}
			return nil, fmt.Errorf("queue %s: parameter %q is unknown; write %s", shown(u), name, nearest)
		default:
			if err := set(s, value); err != nil {
				return nil, fmt.Errorf("queue %s: %s: %w", shown(u), name, err)
			}
		}
	}
	if (s.files["cert"] == "") != (s.files["key"] == "") {
		return nil, fmt.Errorf("queue %s: cert and key belong together; write both", shown(u))
	}
	if s.files["password"] != "" && s.user == "" {
		return nil, fmt.Errorf("queue %s: a password needs a user; write user=NAME beside it", shown(u))
	}
	return s, nil
}

// shown is the URL without what may be secret.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host }

// connection are the client's options. Files are read when a connection is made.
func (s *settings) connection() ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name("bellhop"),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // nothing is sent later: whoever waits is told
		nats.IgnoreAuthErrorAbort(),
	}
	secret := func(name string) func() (string, error) {
		return func() (string, error) {
			b, err := os.ReadFile(s.files[name]) //nolint:gosec // the operator names it
			return strings.TrimSpace(string(b)), err
		}
	}
	switch {
	case s.files["creds"] != "":
		options = append(options, nats.UserCredentials(s.files["creds"]))
	case s.files["nkey"] != "":
		nkey, err := nats.NkeyOptionFromSeed(s.files["nkey"])
		if err != nil {
			return nil, fmt.Errorf("reading the nkey of the queue from %s: %w", s.files["nkey"], err)
		}
		options = append(options, nkey)
	case s.files["token"] != "":
		read := secret("token")
		options = append(options, nats.TokenHandler(func() string {
			token, _ := read() // an empty one is refused by the server, which is told
			return token
		}))
	case s.token != "":
		options = append(options, nats.Token(s.token))
	case s.files["password"] != "":
		read := secret("password")
		options = append(options, nats.UserInfoHandler(func() (string, string) {
			password, _ := read() // as above
			return s.user, password
		}))
	case s.user != "":
		options = append(options, nats.UserInfo(s.user, s.password))
	}
	if s.secure {
		options = append(options, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if s.files["ca"] != "" {
		options = append(options, nats.RootCAs(s.files["ca"]))
	}
	if s.files["cert"] != "" {
		options = append(options, nats.ClientCert(s.files["cert"], s.files["key"]))
	}
	return options, nil
}
