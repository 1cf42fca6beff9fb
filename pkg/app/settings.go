package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/kube"
)

// Settings are the process's own: what needs a restart. Everything else is in the configuration files.
//
// A field is set by the variable BELLHOP_ and its name in capitals (MaxBody: BELLHOP_MAX_BODY), and by the
// flag of its tag, which wins. These defaults are the contract.
type Settings struct {
	Config  string `split_words:"true" flag:"config" default:"/etc/bellhop/config" desc:"configuration: a file, or a directory whose *.yaml and *.yml are merged"`
	Secrets string `split_words:"true" flag:"secrets" default:"/etc/bellhop/secrets" desc:"directory of the secrets: KEY files, and NAME/KEY for a secretRef; or the word kubernetes: the Secrets of the own namespace, read and watched through the API"`

	Listen          string   `split_words:"true" flag:"listen" default:":8080" desc:"address of the receiver, the only listener meant for the internet"`
	TLSCertFile     string   `split_words:"true" flag:"tls-cert-file" desc:"certificate that the receiver serves HTTPS with (PEM); renewed files are picked up"`
	TLSKeyFile      string   `split_words:"true" flag:"tls-key-file" desc:"private key of the certificate (PEM)"`
	TLSClientCAFile string   `split_words:"true" flag:"tls-client-ca-file" desc:"authority of client certificates (PEM), for endpoints whose auth names one"`
	TrustedProxies  Networks `split_words:"true" flag:"trusted-proxies" desc:"networks of the proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8,192.0.2.1"`

	AdminListen    string `split_words:"true" flag:"admin-listen" default:":9090" desc:"address of health, metrics, API and console"`
	AdminTokenFile string `split_words:"true" flag:"admin-token-file" desc:"file with the bearer token that opens API and console to other than loopback peers"`

	ConfigMap string `flag:"configmap" desc:"name of the ConfigMap in the own namespace that the configuration is from; Kubernetes Events about it tell of reloads and troubles"`

	AdmissionListen   string `split_words:"true" flag:"admission-listen" desc:"address of the validating admission webhook, such as :9443; HTTPS only; empty for none"`
	AdmissionCertFile string `split_words:"true" flag:"admission-cert-file" desc:"certificate of the admission webhook (PEM); renewed files are picked up"`
	AdmissionKeyFile  string `split_words:"true" flag:"admission-key-file" desc:"private key of that certificate (PEM)"`

	Queue string `split_words:"true" flag:"queue" default:"file:///var/lib/bellhop/queue" desc:"where events are kept: file://DIR, or nats://HOST:PORT, which several processes may share"`

	Installation string `split_words:"true" flag:"installation" desc:"what tells this Bellhop from others that speak to the same services, such as the cluster's name, for the contexts of commit statuses; by default a name of the queue's own"`

	PublicURL string `split_words:"true" flag:"public-url" desc:"base of printed hook URLs, such as https://hooks.example.com"`

	Receivers int `split_words:"true" flag:"receivers" default:"0" desc:"requests handled at a time; 0: sized from GOMAXPROCS"`
	Notifiers int `split_words:"true" flag:"notifiers" default:"0" desc:"deliveries sent at a time; 0: sized from GOMAXPROCS"`

	MaxBody bellhop.Size `split_words:"true" flag:"max-body" default:"25MiB" desc:"largest body of a request; endpoints may override it"`

	RetentionAge   time.Duration `split_words:"true" flag:"retention-age" default:"72h" desc:"how long delivered events are kept for looking and replay"`
	RetentionBytes bellhop.Size  `split_words:"true" flag:"retention-bytes" default:"1GiB" desc:"how much of delivered events is kept"`

	OrphanGrace time.Duration `split_words:"true" flag:"orphan-grace" default:"24h" desc:"how long deliveries wait for a provider that is in the configuration no more, before they are dead; 0: for good"`

	LogLevel  slog.Level `split_words:"true" flag:"log-level" default:"info" desc:"debug, info, warn or error"`
	LogFormat LogFormat  `split_words:"true" flag:"log-format" default:"json" desc:"json or text"`
}

// EnvironmentPrefix begins the name of every variable.
const EnvironmentPrefix = "BELLHOP"

// FromEnvironment reads the settings from the environment over their defaults. The error names the variable
// and what to write.
func FromEnvironment() (*Settings, error) {
	var s Settings
	err := envconfig.Process(EnvironmentPrefix, &s)
	if p, ok := errors.AsType[*envconfig.ParseError](err); ok {
		return nil, fmt.Errorf("%s: %w", p.KeyName, p.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the environment: %w", err)
	}
	return &s, nil
}

// Check says what is wrong with settings that are right one by one.
func (s *Settings) Check() error {
	var errs []error
	if (s.TLSCertFile == "") != (s.TLSKeyFile == "") {
		errs = append(errs, errors.New("tls-cert-file and tls-key-file belong together: set both or neither"))
	}
	if s.TLSClientCAFile != "" && s.TLSCertFile == "" {
		errs = append(errs, errors.New("tls-client-ca-file needs tls-cert-file and tls-key-file: clients show certificates over HTTPS only"))
	}
	switch given := s.AdmissionCertFile != "" && s.AdmissionKeyFile != ""; {
	case s.AdmissionListen != "" && !given:
		errs = append(errs, errors.New("admission-listen needs admission-cert-file and admission-key-file: the Kubernetes API speaks HTTPS only"))
	case s.AdmissionListen == "" && (s.AdmissionCertFile != "" || s.AdmissionKeyFile != ""):
		errs = append(errs, errors.New("admission-cert-file and admission-key-file are for the admission webhook: set admission-listen too, such as :9443"))
	}
	if s.Receivers < 0 || s.Notifiers < 0 {
		errs = append(errs, errors.New("receivers and notifiers are numbers from 1, or 0 to size them from GOMAXPROCS"))
	}
	if s.MaxBody <= 0 {
		errs = append(errs, errors.New("max-body must be more than 0, such as 25MiB"))
	}
	if s.RetentionAge < 0 {
		errs = append(errs, errors.New("retention-age must not be negative"))
	}
	if s.OrphanGrace < 0 {
		errs = append(errs, errors.New("orphan-grace must not be negative; 0 keeps what waits for good"))
	}
	return errors.Join(errs...)
}

// secretsOfKubernetes in place of a directory means the Secrets of the own namespace.
const secretsOfKubernetes = "kubernetes"

// Loader makes snapshots as these settings say. It asks the Kubernetes API nothing before a provider does, unless
// Secrets are to come from there: then each Load reads them.
func (s *Settings) Loader(catalog bellhop.Catalog, logger *slog.Logger) *config.Loader {
	loader, _ := s.loader(s.cluster(logger), catalog, logger)
	return loader
}

// loader is Loader's with the Secrets that it reads, which may be watched; nil if they are files.
func (s *Settings) loader(cluster *kube.Cluster, catalog bellhop.Catalog, logger *slog.Logger) (*config.Loader, *kube.Secrets) {
	loader := &config.Loader{
		Config: s.Config, Secrets: s.Secrets, Catalog: catalog, Logger: logger, Cluster: cluster, Installation: func() string { return s.Installation },
	}
	if s.Secrets != secretsOfKubernetes {
		return loader, nil
	}
	secrets := cluster.Secrets()
	loader.Secrets, loader.Store = "", secrets
	return loader, secrets
}

// cluster is the Kubernetes API, which is asked nothing yet.
func (s *Settings) cluster(logger *slog.Logger) *kube.Cluster {
	return kube.New(kube.Options{Kubeconfig: os.Getenv("KUBECONFIG"), Namespace: os.Getenv("POD_NAMESPACE"), Logger: logger})
}

// Networks are addresses and CIDR networks, separated by commas.
type Networks []netip.Prefix

// UnmarshalText reads what the type's comment says.
func (n *Networks) UnmarshalText(text []byte) error {
	var out Networks
	for word := range strings.SplitSeq(string(text), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, aerr := netip.ParseAddr(word)
			if aerr != nil {
				return fmt.Errorf("network %q: write an address or a network such as 10.0.0.0/8", word)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	*n = out
	return nil
}

// String is what UnmarshalText reads.
func (n Networks) String() string {
	words := make([]string, len(n))
	for i, p := range n {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

// MarshalText is String.
func (n Networks) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// LogFormat is json or text.
type LogFormat string

// The log formats.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)

// UnmarshalText reads json or text.
func (f *LogFormat) UnmarshalText(text []byte) error {
	switch v := LogFormat(text); v {
	case LogJSON, LogText:
		*f = v
		return nil
	}
	return fmt.Errorf("log format %q: write json or text", text)
}

// MarshalText is the format's name.
func (f LogFormat) MarshalText() ([]byte, error) { return []byte(f), nil }
