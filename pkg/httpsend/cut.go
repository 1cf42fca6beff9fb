package httpsend

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unit is what a vendor counts when it limits a text.
type Unit int

// The units. UTF16 is what vendors whose limits are "characters" often count; a text within it is within
// Runes too.
const (
	Bytes Unit = iota
	Runes
	UTF16
)

func (u Unit) String() string { return [...]string{"bytes", "characters", "UTF-16 units"}[u] }

// Len is the length of a text in the unit.
func (u Unit) Len(s string) int {
	if u == Bytes {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += u.size(r)
	}
	return n
}

func (u Unit) size(r rune) int {
	switch {
	case u == Bytes:
		return utf8.RuneLen(r)
	case u == UTF16 && r > 0xFFFF:
		return 2
	}
	return 1
}

const ellipsis = '…'

// Cut shortens a text to at most limit units, the ellipsis that shows it counted in. It cuts between
// characters as people see them (no accent or emoji is torn from its base) where that costs few of them, and
// always between runes. The result is valid UTF-8, whatever s was.
func Cut(s string, limit int, u Unit) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit || u.Len(s) <= limit {
		return s
	}
	room := limit - u.size(ellipsis)
	if room <= 0 {
		return ""
	}
	end, n := 0, 0
	for i, r := range s {
		end = i
		if n += u.size(r); n > room {
			break
		}
	}
	return strings.TrimRightFunc(s[:whole(s, end)], unicode.IsSpace) + string(ellipsis)
}

// whole moves a cut at end back to where a character begins, at most 16 runes.
func whole(s string, end int) int {
	at := end
	for range 16 {
		next, _ := utf8.DecodeRuneInString(s[at:])
		last, size := utf8.DecodeLastRuneInString(s[:at])
		if at == 0 || !Joins(next) && last != zeroWidthJoiner {
			return at
		}
		at -= size
	}
	return end
}

const zeroWidthJoiner = '\u200D'

// Joins reports whether a rune belongs to the one before it: accents, variation selectors, skin tones.
func Joins(r rune) bool {
	return r == zeroWidthJoiner || unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc) || r >= 0x1F3FB && r <= 0x1F3FF
}
