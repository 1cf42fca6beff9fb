package jetstream

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// names are those of one Bellhop among others in the same NATS: all begin with its prefix.
//
//	PREFIX_EVENTS    to.PROVIDER.event.EVENT   a post, under the id of its first event; it is the delivery to the
//	                                           provider as well, if that is not nobody
//	                 to.PROVIDER.again.EVENT   any other delivery: it points to the post
//	                 to.=.key.DIGEST           a duplicate key of a post that was imported
//	                 chunk.EVENT.N             a part of the post's bodies, where they do not fit in one message
//	PREFIX_RECORDS   retry.PROVIDER.EVENT   a delivery that waits, and is not as it was when it was accepted
//	                 done.PROVIDER.EVENT    a delivery that was delivered or dropped
//	                 dead.PROVIDER.EVENT    a dead delivery
//	                 memo.PROVIDER.DIGEST   a memo of a provider
//	                 pause.PROVIDER         until when a provider pauses
//	                 known.PROVIDER         a provider that was ever the target of an event
//	                 replica.NAME           a process that announced itself
//	                 alias.EVENT            a later event of a post; the id of the first
//	                 id                     the store's id
type names string

func (n names) events() string  { return strings.ToUpper(string(n)) + "_EVENTS" }
func (n names) records() string { return strings.ToUpper(string(n)) + "_RECORDS" }

// subject is a subject of a kind. anyone stands for all names.
func (n names) subject(kind string, of ...string) string {
	tokens := []string{string(n), kind}
	for _, what := range of {
		tokens = append(tokens, name(what))
	}
	return strings.Join(tokens, ".")
}

// name writes a name as a token of a subject.
func name(what string) string {
	switch what {
	case anyone:
		return "*"
	case nobody:
		return "=" // nothing that token returns
	}
	return token(what)
}

// event is where the post is that begins with an event; home is the provider whose delivery it is, nobody, or anyone.
func (n names) event(home, id string) string { return n.to(home) + ".event." + name(id) }

// pointer is where a delivery is that has a message of its own.
func (n names) pointer(provider, id string) string { return n.to(provider) + ".again." + name(id) }

// key is where a duplicate key is that no post tells.
func (n names) key(key string) string { return n.to(nobody) + ".key." + digest(key) }

// keys are the subjects of all duplicate keys that no post tells.
func (n names) keys() string { return n.to(nobody) + ".key.*" }

func (n names) isKey(subject string) bool { return strings.HasPrefix(subject, n.to(nobody)+".key.") }

// deliveries are the messages of all deliveries to a provider.
func (n names) deliveries(provider string) string { return n.to(provider) + ".*.*" }

func (n names) to(provider string) string { return string(n) + ".to." + name(provider) }

func (n names) chunk(id string, i int) string { return n.subject("chunk", id, strconv.Itoa(i)) }

func (n names) alias(id string) string { return n.subject("alias", id) }

func (n names) pause(provider string) string { return n.subject("pause", provider) }

func (n names) known(provider string) string { return n.subject("known", provider) }

func (n names) replica(name string) string { return n.subject("replica", name) }

func (n names) id() string { return string(n) + ".id" }

func (n names) memo(provider, key string) string {
	return n.subject("memo", provider, digest(key))
}

// delivery is a delivery's subject of a kind. A provider or event of anyone matches all.
func (n names) delivery(kind, provider, event string) string {
	return n.subject(kind, provider, event)
}

// The kinds of subjects of deliveries, and what stands for all providers or events in them.
const (
	kindRetry = "retry"
	kindDone  = "done"
	kindDead  = "dead"
	anyone    = "\x00" // no name holds a zero byte
	nobody    = ""     // nor is empty
)

// splitDelivery is the inverse of delivery.
func (n names) splitDelivery(subject string) (kind, provider, event string, ok bool) {
	tokens := strings.Split(strings.TrimPrefix(subject, string(n)+"."), ".")
	if len(tokens) != 3 {
		return "", "", "", false
	}
	provider, ok = untoken(tokens[1])
	if !ok {
		return "", "", "", false
	}
	event, ok = untoken(tokens[2])
	return tokens[0], provider, event, ok
}

// splitMessage is the inverse of event and pointer.
func (n names) splitMessage(subject string) (provider string, isPost bool, event string) {
	tokens := strings.Split(strings.TrimPrefix(subject, string(n)+".to."), ".")
	if len(tokens) != 3 {
		return nobody, false, ""
	}
	if tokens[0] != name(nobody) {
		provider, _ = untoken(tokens[0])
	}
	event, _ = untoken(tokens[2])
	return provider, tokens[1] == "event", event
}

// last is the name in the last token of a subject.
func last(subject string) string {
	name, _ := untoken(subject[strings.LastIndexByte(subject, '.')+1:])
	return name
}

// maxConsumer is the longest name of a consumer that the server takes.
const maxConsumer = 255

// consumer is the name of a provider's consumer; a long one is a digest, which no token looks like.
func consumer(provider string) string {
	if t := token(provider); len(t) <= maxConsumer {
		return t
	}
	return "~" + digest(provider)
}

// token writes a name as a token of a subject: what is not a letter, a digit, an underscore or a dash becomes
// an equals sign and two hexadecimal digits.
func token(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && isPlain(name[i])
	}
	if plain {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if isPlain(name[i]) {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, "=%02X", name[i])
		}
	}
	return b.String()
}

func untoken(t string) (name string, ok bool) {
	if !strings.Contains(t, "=") {
		return t, t != ""
	}
	var b strings.Builder
	for rest := t; rest != ""; {
		plain, coded, found := strings.Cut(rest, "=")
		b.WriteString(plain)
		if !found {
			break
		}
		if len(coded) < 2 {
			return "", false
		}
		c, err := strconv.ParseUint(coded[:2], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		rest = coded[2:]
	}
	return b.String(), true
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// digest is what stands for texts where only a token fits: 192 bits of their hash.
func digest(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:24])
}
