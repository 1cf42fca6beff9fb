package record

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// MaxName bounds ids, names and duplicate keys, so that a key stays small.
const MaxName = 1 << 10

// CheckPost refuses posts that no engine can store.
func CheckPost(p *bellhop.Post) error {
	if len(p.Items) == 0 {
		return errors.New("storing a post: it has no events")
	}
	if len(p.Key) > MaxName {
		return fmt.Errorf("storing a post: its key has %d bytes, at most %d are kept; give a digest", len(p.Key), MaxName)
	}
	for i := range p.Items {
		if p.Items[i].Event == nil {
			return fmt.Errorf("storing a post: item %d has no event", i)
		}
		if err := CheckEventID(p.Items[i].Event.ID); err != nil {
			return fmt.Errorf("storing a post: %w", err)
		}
		if err := CheckTargets(p.Items[i].To); err != nil {
			return fmt.Errorf("storing a post: %w", err)
		}
	}
	return nil
}

// CheckStored refuses parts that no engine can take in.
func CheckStored(parts []*bellhop.Stored) error {
	for _, s := range parts {
		if err := checkStored(s); err != nil {
			return err
		}
	}
	return nil
}

func checkStored(s *bellhop.Stored) error {
	kinds := 0
	for _, is := range [...]bool{s.ID != "", s.Event != nil, s.Key != nil, s.Memo != nil, !s.PausedUntil.IsZero()} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("importing: a part of a store must be one of an id, an event, a key, a memo, a pause; it is %d of them", kinds)
	case len(s.ID) > MaxName:
		return fmt.Errorf("importing: the store's id has %d bytes, at most %d are taken", len(s.ID), MaxName)
	case s.Memo != nil:
		return CheckMemo(s.Provider, s.Memo.Key)
	case s.Key != nil:
		return checkKey(s.Key)
	case s.Event == nil && s.ID == "":
		return CheckProvider(s.Provider)
	case s.Event == nil:
		return nil
	}
	if err := CheckEventID(s.Event.ID); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	for _, d := range s.Deliveries {
		if d.Event != s.Event.ID {
			return fmt.Errorf("importing event %s: it has a delivery of event %.80q", s.Event.ID, d.Event)
		}
		if d.State != bellhop.Waiting && d.State != bellhop.Delivered && d.State != bellhop.Dead {
			return fmt.Errorf("importing delivery %s: state %.40q is unknown", bellhop.DeliveryID(d.Event, d.Provider), d.State)
		}
	}
	if err := CheckTargets(TargetsOf(s)); err != nil {
		return fmt.Errorf("importing event %s: %w", s.Event.ID, err)
	}
	return nil
}

func checkKey(k *bellhop.DuplicateKey) error {
	if k.Key == "" || len(k.Key) > MaxName || k.Expires.IsZero() || len(k.IDs) == 0 {
		return fmt.Errorf("importing duplicate key %.40q: it must have 1 to %d bytes, a time when it is forgotten, and events", k.Key, MaxName)
	}
	for _, id := range k.IDs {
		if err := CheckEventID(id); err != nil {
			return fmt.Errorf("importing duplicate key %.40q: %w", k.Key, err)
		}
	}
	return nil
}

// TargetsOf are the targets of an event's deliveries.
func TargetsOf(s *bellhop.Stored) []bellhop.Target {
	to := make([]bellhop.Target, len(s.Deliveries))
	for i, d := range s.Deliveries {
		to[i] = bellhop.Target{Provider: d.Provider, Route: d.Route}
	}
	return to
}

// AcceptedOf is when an event was stored first, nanoseconds: its deliveries tell, else the time that it was received
// at does.
func AcceptedOf(s *bellhop.Stored) int64 {
	if len(s.Deliveries) > 0 {
		return Nanos(s.Deliveries[0].Accepted)
	}
	return Nanos(s.Event.Time)
}

// CheckTargets refuses targets that cannot be told apart.
func CheckTargets(to []bellhop.Target) error {
	var seen map[string]bool
	if len(to) > 1 {
		seen = make(map[string]bool, len(to))
	}
	for _, t := range to {
		if err := CheckProvider(t.Provider); err != nil {
			return err
		}
		if seen[t.Provider] {
			return fmt.Errorf("provider %q is a target twice", t.Provider)
		}
		if seen != nil {
			seen[t.Provider] = true
		}
	}
	return nil
}

// CheckEventID refuses ids that cannot stand in a key or in a delivery's id.
func CheckEventID(id string) error {
	if id == "" || len(id) > MaxName || strings.ContainsAny(id, ".\x00") {
		return fmt.Errorf("event id %.40q: it must have 1 to %d bytes and neither a dot nor a zero byte", id, MaxName)
	}
	return nil
}

// CheckProvider refuses names that cannot stand in a key.
func CheckProvider(name string) error {
	if name == "" || len(name) > MaxName || strings.Contains(name, "\x00") {
		return fmt.Errorf("provider %.40q: the name must have 1 to %d bytes and no zero byte", name, MaxName)
	}
	return nil
}

// SplitDeliveryID is the inverse of bellhop.DeliveryID.
func SplitDeliveryID(id string) (event, provider string, ok bool) {
	event, provider, ok = strings.Cut(id, ".")
	return event, provider, ok && event != "" && provider != ""
}

// CheckMemo refuses keys of memos that are empty or too long.
func CheckMemo(provider, key string) error {
	if err := CheckProvider(provider); err != nil {
		return err
	}
	if key == "" || len(key) > MaxName {
		return fmt.Errorf("memo key %.40q: it must have 1 to %d bytes", key, MaxName)
	}
	return nil
}

// Exported is what export yields, and its error in the end.
func Exported(export func(yield func(*bellhop.Stored) bool) error) iter.Seq2[*bellhop.Stored, error] {
	return func(yield func(*bellhop.Stored, error) bool) {
		if err := export(func(s *bellhop.Stored) bool { return yield(s, nil) }); err != nil {
			yield(nil, fmt.Errorf("exporting: %w", err))
		}
	}
}
