package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Client tells a peer what to do.
type Client struct {
	// Base is where the peer is, such as http://127.0.0.1:40123.
	Base string
	HTTP http.Client
}

// Post sends one message. The error is of the way to the peer; what became of the message is in the answer.
func (c *Client) Post(ctx context.Context, m Message) (a Answer, err error) {
	err = c.do(ctx, http.MethodPost, "/post", m, &a)
	return a, err
}

// Begin starts a load and returns at once.
func (c *Client) Begin(ctx context.Context, l Load) error {
	return c.do(ctx, http.MethodPost, "/load", l, nil)
}

// Await returns once the load ended.
func (c *Client) Await(ctx context.Context) (r Result, err error) {
	err = c.do(ctx, http.MethodGet, "/load", nil, &r)
	return r, err
}

// End ends the load. What is on its way at that moment counts as nothing.
func (c *Client) End(ctx context.Context) (r Result, err error) {
	err = c.do(ctx, http.MethodDelete, "/load", nil, &r)
	return r, err
}

// Received is what was delivered so far.
func (c *Client) Received(ctx context.Context) (r Received, err error) {
	err = c.do(ctx, http.MethodGet, "/received", nil, &r)
	return r, err
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(b)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}
