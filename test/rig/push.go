package rig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
)

// Hook is an endpoint to send to, with a set of signed pushes made for it.
type Hook struct {
	host     string
	tls      bool
	requests []request
}

// request is an HTTP request in two parts, between which the delivery id goes.
type request struct {
	head []byte // up to and including "X-GitHub-Delivery: "
	tail []byte // the empty line and the body
}

// NewHook makes variants distinct GitHub pushes of about size bytes, signed with the key, for a hook URL
// such as http://127.0.0.1:8080/hook/… or https://bellhop:443/hook/….
//
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
func NewHook(hookURL string, key []byte, size, variants int) (*Hook, error) {
	u, err := url.Parse(hookURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("hook URL %q: write http://host:port/hook/fingerprint, or https", hookURL)
	}
	h := &Hook{host: u.Host, tls: u.Scheme == "https"}
	for range variants {
		body := Push(size)
		mac := hmac.New(sha256.New, key)
		mac.Write(body)
		var head bytes.Buffer
		fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\n", u.RequestURI(), u.Host)
		fmt.Fprintf(&head, "User-Agent: GitHub-Hookshot/bellhop\r\nAccept: */*\r\nContent-Type: application/json\r\n")
		fmt.Fprintf(&head, "Content-Length: %d\r\nX-GitHub-Event: push\r\n", len(body))
		fmt.Fprintf(&head, "X-Hub-Signature-256: sha256=%s\r\nX-GitHub-Delivery: ", hex.EncodeToString(mac.Sum(nil)))
		h.requests = append(h.requests, request{head.Bytes(), append([]byte("\r\n\r\n"), body...)})
	}
	return h, nil
}

// Fingerprint is the last element of the hook URL of a key.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// DeliveryID is the n-th delivery's X-GitHub-Delivery, in the form of GitHub's own.
func DeliveryID(n int64) string { return string(appendDeliveryID(nil, n)) }

func appendDeliveryID(b []byte, n int64) []byte {
	return fmt.Appendf(b, "be110000-0000-4000-8000-%012d", n)
}

// ParseDeliveryID is the number of a delivery that DeliveryID named.
func ParseDeliveryID(id string) (n int64, ok bool) {
	const prefix = "be110000-0000-4000-8000-"
	if len(id) != len(prefix)+12 || id[:len(prefix)] != prefix {
		return 0, false
	}
	n, err := strconv.ParseInt(id[len(prefix):], 10, 64)
	return n, err == nil && n >= 0
}

// Push is the payload of a GitHub push of one commit, its list of files as long as the size asks for. No two are equal.
func Push(size int) []byte {
	before, after := hash(), hash()
	commit := map[string]any{
		"id": after, "tree_id": hash(), "distinct": true,
		"message":   "Count the keys on the board\n\nOne was missing this morning.",
		"timestamp": "2026-11-20T18:04:12+01:00",
		"url":       "https://github.com/grand-hotel/frontdesk/commit/" + after,
		"author":    map[string]any{"name": "Gustave H.", "email": "gustave@grand-hotel.example", "username": "gustave"},
		"committer": map[string]any{"name": "Gustave H.", "email": "gustave@grand-hotel.example", "username": "gustave"},
		"added":     []string{}, "removed": []string{}, "modified": []string{},
	}
	payload := map[string]any{
		"ref": "refs/heads/main", "before": before, "after": after,
		"created": false, "deleted": false, "forced": false, "base_ref": nil,
		"compare": "https://github.com/grand-hotel/frontdesk/compare/" + before[:12] + "..." + after[:12],
		"repository": map[string]any{
			"id": 420017, "name": "frontdesk", "full_name": "grand-hotel/frontdesk", "private": false,
			"owner":     map[string]any{"name": "grand-hotel", "login": "grand-hotel", "id": 1729, "type": "Organization"},
			"html_url":  "https://github.com/grand-hotel/frontdesk",
			"ssh_url":   "git@github.com:grand-hotel/frontdesk.git",
			"clone_url": "https://github.com/grand-hotel/frontdesk.git", "default_branch": "main",
		},
		"pusher":  map[string]any{"name": "gustave", "email": "gustave@grand-hotel.example"},
		"sender":  map[string]any{"login": "gustave", "id": 1932, "type": "User"},
		"commits": []any{commit}, "head_commit": commit,
	}
	length := len(encode(payload))
	var files []string
	for length < size {
		file := "rooms/" + hash()[:16] + "/inventory.json"
		files = append(files, file)
		length += 2 * (len(file) + len(`"",`)) // the commit stands twice in the payload
	}
	commit["modified"] = files
	return encode(payload)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings, numbers and lists only
	}
	return b
}

// hash looks like a commit's. It need not be hard to guess.
func hash() string {
	return fmt.Sprintf("%016x%016x%08x", rand.Uint64(), rand.Uint64(), rand.Uint32())
}
