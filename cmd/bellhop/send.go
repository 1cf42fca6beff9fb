package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// sender is the command line of send.
type sender struct {
	source, event, delivery string
	key, file               string
	url, endpoint, base     string
	connectTo               string
	contentType             string
	headers                 []string
	timeout, confirm        time.Duration
}

// answerMax bounds what is printed of an answer, in bytes.
const answerMax = 64 << 10

func (p *program) send() *cobra.Command {
	var (
		s sender
		a *api
	)
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Play a sender: sign a payload as the source does, and post it",
		Long: `Send signs a payload as a sender of that source signs, posts it, and prints what it is answered.

Either all is said here (--source, --key, --url), or --endpoint takes source, key and path from the
configuration. Exit code 1 unless the answer is 2xx.

With --confirm it then asks the admin API (--server) for the event, and prints in one line that it is stored and how
its deliveries stand; exit code 1 if it is not there in time. A request that made no event, because it is a ping
or nobody wants it, is looked up among the last requests. Each replica remembers its own, so that one which is
not found is no failure.`,
		Example: `  bellhop send --source github --event push --key app.key --file push.json --url http://localhost:8080/hook/3f…
  bellhop send --endpoint app --event push --file push.json --base http://localhost:8080 --confirm`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, key, target, err := p.sendTo(&s)
			if err != nil {
				return err
			}
			sent, err := s.post(cmd, kind, key, target)
			if err != nil || s.confirm == 0 {
				return err
			}
			line, err := sent.confirm(cmd.Context(), a, s.confirm)
			if err != nil {
				return err
			}
			cmd.Println(onScreen(line))
			return nil
		},
	}
	a = p.apiFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.source, "source", "", "who to play, such as github; any spelling that an endpoint may use")
	f.StringVar(&s.key, "key", "", "file of the key to sign with")
	f.StringVar(&s.url, "url", "", "where to post")
	f.StringVar(&s.endpoint, "endpoint", "", "endpoint of the configuration to post to, signed with its first key")
	f.StringVar(&s.base, "base", "", "with --endpoint: what comes before /hook/; default --public-url, else http://127.0.0.1:8080")
	f.StringVar(&s.event, "event", "", "event type, in the header of senders that have one for it")
	f.StringVar(&s.delivery, "delivery", "", "id of the delivery, in the header of senders that have one for it; default a new one")
	f.StringVar(&s.file, "file", "-", "file of the payload; - for standard input")
	f.StringVar(&s.contentType, "content-type", "application/json", "content type of the payload")
	f.StringArrayVar(&s.headers, "header", nil, "a header, name: value; signatures are made over it where the source signs headers")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long to wait for the answer")
	f.StringVar(&s.connectTo, "connect-to", "", "host:port to connect to in place of the URL's, whose name the certificate has to have all the same")
	f.DurationVar(&s.confirm, "confirm", 0, "ask the admin API what became of the request, for so long")
	f.Lookup("confirm").NoOptDefVal = "30s"
	p.configFlags(cmd, "public-url")
	cmd.MarkFlagsMutuallyExclusive("endpoint", "source")
	cmd.MarkFlagsOneRequired("endpoint", "source")
	cmd.MarkFlagsRequiredTogether("source", "key", "url")
	return cmd
}

// sendTo is who to play, with which key, and where to post.
func (p *program) sendTo(s *sender) (kind bellhop.Kind[bellhop.Source], key bellhop.Secret, target string, err error) {
	if s.endpoint == "" {
		kind, ok := p.catalog.Source(s.source)
		if !ok {
			return kind, key, "", fmt.Errorf("no source %q: there are %s", s.source, sourceNames(p.catalog))
		}
		b, err := os.ReadFile(s.key)
		if err != nil {
			return kind, key, "", fmt.Errorf("reading the key: %w", err)
		}
		if u, err := url.Parse(s.url); err != nil || u.Host == "" {
			return kind, key, "", errors.New("--url: write the whole URL, such as http://localhost:8080/hook/…; `bellhop urls` prints it")
		}
		return kind, bellhop.NewSecret(b), s.url, nil
	}
	snapshot, problems, err := p.load(nil)
	if err != nil {
		return kind, key, "", err
	}
	var known []string
	for _, ep := range snapshot.Endpoints {
		if len(ep.Keys) == 0 {
			continue // one of the problems
		}
		if ep.Name == s.endpoint {
			base := cmp.Or(s.base, p.settings.PublicURL, "http://127.0.0.1:8080")
			return ep.Kind, ep.Keys[0], hookURLs(base, ep)[0], nil
		}
		known = append(known, ep.Name)
	}
	return kind, key, "", missing("endpoint", s.endpoint, known, problems)
}

func sourceNames(c bellhop.Catalog) string {
	names := make([]string, len(c.Sources))
	for i, k := range c.Sources {
		names[i] = k.Name
	}
	return strings.Join(names, ", ")
}

// post sends the request and prints status and body of the answer.
func (s *sender) post(cmd *cobra.Command, kind bellhop.Kind[bellhop.Source], key bellhop.Secret, target string) (*sent, error) {
	body, err := s.payload(cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	header, err := s.header(kind)
	if err != nil {
		return nil, err
	}
	if kind.Source.Sign != nil {
		variants := key.Variants()
		kind.Source.Sign(variants[len(variants)-1], header, body) // as a person would have pasted it
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), s.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("--url: %w", withoutURL(err))
	}
	r.Header = header
	resp, err := s.client().Do(r)
	if err != nil {
		return nil, fmt.Errorf("posting to %s: %w", r.URL.Host, withoutURL(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	cmd.Println(resp.Status)
	if text := strings.TrimSpace(string(answer)); text != "" {
		cmd.Println(onScreen(text))
	}
	if resp.StatusCode/100 != 2 {
		return nil, errTold
	}
	return &sent{source: kind.Name, delivery: header.Get(kind.Source.DeliveryHeader), bytes: len(body), answer: answer}, nil
}

// client follows no redirects, and connects to where it is told.
func (s *sender) client() *http.Client {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if s.connectTo != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.connectTo)
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *sender) payload(in io.Reader) ([]byte, error) {
	if s.file == "-" {
		body, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("reading the payload: %w", err)
		}
		return body, nil
	}
	body, err := os.ReadFile(s.file)
	if err != nil {
		return nil, fmt.Errorf("reading the payload: %w", err)
	}
	return body, nil
}

func (s *sender) header(kind bellhop.Kind[bellhop.Source]) (http.Header, error) {
	h := http.Header{"Content-Type": {s.contentType}, "User-Agent": {"bellhop-send"}}
	if kind.Source.EventHeader != "" && s.event != "" {
		h.Set(kind.Source.EventHeader, s.event)
	} else if s.event != "" {
		return nil, fmt.Errorf("--event: %s says the event in the payload: leave the flag out", kind.Name)
	}
	switch {
	case kind.Source.DeliveryHeader != "":
		h.Set(kind.Source.DeliveryHeader, cmp.Or(s.delivery, rand.Text()))
	case s.delivery != "":
		return nil, fmt.Errorf("--delivery: %s has no header for it: leave the flag out", kind.Name)
	}
	for _, line := range s.headers {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("--header %q: write name: value", line)
		}
		h.Set(name, strings.TrimSpace(value))
	}
	return h, nil
}

// withoutURL is an error of net/http without the URL, which is as good as a key for some senders.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
