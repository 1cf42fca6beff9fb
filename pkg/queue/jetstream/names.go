package jetstream

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// names are those of one Bellhop among others in the same NATS: all begin with its prefix.
//
//	PREFIX_EVENTS    event.EVENT            a post, under the id of its first event
//	                 chunk.EVENT.N          a part of the post's bodies, where they do not fit in one message
//	PREFIX_WAITING   wait.PROVIDER.EVENT    a delivery that waits
//	PREFIX_RECORDS   tried.PROVIDER.EVENT   what became of a delivery so far
//	                 dead.PROVIDER.EVENT    a dead delivery
//	                 memo.PROVIDER.DIGEST   a memo of a provider
//	                 pause.PROVIDER         until when a provider pauses
//	                 known.PROVIDER         a provider that was ever the target of an event
//	                 replica.NAME           a process that announced itself
//	                 alias.EVENT            a later event of a post; the id of the first
//	                 id                     the store's id
type names string

func (n names) events() string  { return strings.ToUpper(string(n)) + "_EVENTS" }
func (n names) waiting() string { return strings.ToUpper(string(n)) + "_WAITING" }
func (n names) records() string { return strings.ToUpper(string(n)) + "_RECORDS" }

// subject is a subject of a kind. anyone stands for all names.
func (n names) subject(kind string, of ...string) string {
	tokens := []string{string(n), kind}
	for _, name := range of {
		if name == anyone {
			tokens = append(tokens, "*")
		} else {
			tokens = append(tokens, token(name))
		}
	}
	return strings.Join(tokens, ".")
}

func (n names) event(id string) string { return n.subject("event", id) }

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
	kindWait  = "wait"
	kindTried = "tried"
	kindDead  = "dead"
	anyone    = "\x00" // no name holds a zero byte
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

func digest(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil))
}
