package bellhop

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written as 25MiB, 1GiB, 512kB or a plain number.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  Size
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText reads what the type's comment says.
func (s *Size) UnmarshalText(text []byte) error {
	str, unit := strings.TrimSpace(string(text)), Size(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(str, u.suffix); ok {
			str, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(str, 64)
	if err != nil || !(n >= 0 && n*float64(unit) <= 1<<62) {
		return fmt.Errorf("size %q: write a number with KiB, MiB or GiB, such as 25MiB", text)
	}
	*s = Size(n * float64(unit))
	return nil
}

func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := sizeUnits[i]; s >= u.bytes && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Rate is so many events a time, written as 1/s, 30/m, 1000/h. The zero value means no limit.
type Rate struct {
	Events float64
	Per    time.Duration
}

// Limited reports whether the rate limits anything.
func (r Rate) Limited() bool { return r.Events > 0 && r.Per > 0 }

// PerSecond is the rate in events a second.
func (r Rate) PerSecond() float64 { return r.Events / r.Per.Seconds() }

// UnmarshalText reads what the type's comment says.
func (r *Rate) UnmarshalText(text []byte) error {
	events, unit, ok := strings.Cut(strings.TrimSpace(string(text)), "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(events), 64)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "min": time.Minute, "h": time.Hour}[strings.TrimSpace(unit)]
	if !ok || err != nil || !(n > 0 && n <= 1e6) || per == 0 {
		return fmt.Errorf("rate %q: write events a second, minute or hour, such as 1/s or 30/m", text)
	}
	*r = Rate{n, per}
	return nil
}

func (r Rate) String() string {
	if !r.Limited() {
		return ""
	}
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
	return strconv.FormatFloat(r.Events, 'g', -1, 64) + "/" + unit
}

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
