package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// api speaks to the admin API of a running process.
type api struct {
	server    string
	tokenFile string
}

const (
	apiTimeout = 30 * time.Second
	apiMax     = 256 << 20 // bytes of an answer: a page of events, or one with its payload
)

// apiFlags adds the flags that say where the process is, to a command and those below it.
func (p *program) apiFlags(cmd *cobra.Command) *api {
	a := &api{}
	cmd.PersistentFlags().StringVar(&a.server, "server", "http://127.0.0.1:9090",
		"admin address of the process, such as that of kubectl port-forward")
	cmd.PersistentFlags().StringVar(&a.tokenFile, "token-file", p.settings.AdminTokenFile,
		"file with the token that opens the API to other than loopback peers [$"+variable("admin-token-file")+"]")
	return a
}

// refusal is the API's own answer other than 2xx.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

// list is the form of the API's lists.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

func (a *api) get(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return a.do(ctx, http.MethodGet, path, nil, into)
}

func (a *api) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return a.do(ctx, http.MethodPost, path, b, into)
}

func (a *api) do(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	base, err := url.Parse(a.server)
	if err != nil || base.Host == "" {
		return fmt.Errorf("--server %s: write a URL such as http://127.0.0.1:9090", a.server)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(a.server, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if a.tokenFile != "" {
		token, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+bellhop.NewSecret(token).RevealString())
	}
	resp, err := new(http.Client).Do(r)
	if err != nil {
		return fmt.Errorf("asking the process: %w; --server says where it is", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, apiMax))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		var said struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(answer, &said) != nil || said.Error == "" {
			return fmt.Errorf("%s answers %s: is that the admin address?", base.Host, resp.Status)
		}
		return &refusal{resp.StatusCode, said.Error}
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s answers what is not the API's: %w; is that the admin address?", base.Host, err)
	}
	return nil
}

// pages are the flags that choose a part of a list.
type pages struct {
	limit  int
	cursor string
}

func pageFlags(cmd *cobra.Command) *pages {
	p := &pages{}
	cmd.Flags().IntVar(&p.limit, "limit", 100, "how many, 1000 at most")
	cmd.Flags().StringVar(&p.cursor, "cursor", "", "where the list before ended, as it said")
	return p
}

func (p *pages) query() url.Values {
	q := url.Values{"limit": {strconv.Itoa(p.limit)}}
	if p.cursor != "" {
		q.Set("cursor", p.cursor)
	}
	return q
}

// printList prints a list as a table of rows or as the API's JSON. That there is more is said beside it.
func printList[T any](cmd *cobra.Command, form format, l list[T], heads []string, row func(T) []string) error {
	if form == asJSON {
		return printJSON(cmd.OutOrStdout(), l)
	}
	t := newTable(cmd.OutOrStdout(), heads...)
	for _, item := range l.Items {
		t.row(row(item)...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if l.Next != "" {
		cmd.PrintErrf("bellhop: there is more: --cursor %s\n", l.Next)
	}
	return nil
}

// facts prints what is known of one thing, a line each; what is empty is left out.
func facts(w io.Writer, fs ...bellhop.Field) error {
	t := newTable(w)
	for _, f := range fs {
		if f.Value != "" {
			t.row(f.Name, f.Value)
		}
	}
	return t.flush()
}

// when is a time for people, empty for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// cutAt is a cell of at most n characters.
func cutAt(n int, s string) string {
	r := []rune(onScreen(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// deliveryHeads and deliveryRow are the table of deliveries.
var deliveryHeads = []string{"ID", "STATE", "ATTEMPTS", "TIME", "ERROR"}

func deliveryRow(d *bellhop.Delivery) []string {
	return []string{d.ID, string(d.State), strconv.Itoa(d.Attempts), when(d.Time), cmp.Or(cutAt(120, d.Error), "-")}
}
