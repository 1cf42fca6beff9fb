package record

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Tags of a memo's record.
const (
	tagMemoValue   = 1
	tagMemoEvent   = 2
	tagMemoTime    = 3 // nanoseconds
	tagMemoExpires = 4 // nanoseconds
)

// EncodeMemo is the record of a memo, without its key.
func EncodeMemo(m *bellhop.Memo) []byte {
	b := []byte{Format1}
	b = AppendField(b, tagMemoValue, m.Value)
	b = AppendField(b, tagMemoEvent, m.Event)
	b = AppendNumber(b, tagMemoTime, Nanos(m.Time))
	return AppendNumber(b, tagMemoExpires, Nanos(m.Expires))
}

// DecodeMemo reads what EncodeMemo wrote.
func DecodeMemo(record []byte) (bellhop.Memo, error) {
	var m bellhop.Memo
	if len(record) == 0 || record[0] != Format1 {
		return m, ErrDamaged
	}
	err := EachField(record[1:], func(tag uint64, v string) error {
		var ns int64
		switch tag {
		case tagMemoValue:
			m.Value = v
		case tagMemoEvent:
			m.Event = v
		case tagMemoTime, tagMemoExpires:
			if err := Number(v, &ns); err != nil {
				return err
			}
			if tag == tagMemoTime {
				m.Time = Moment(ns)
			} else {
				m.Expires = Moment(ns)
			}
		}
		return nil
	})
	return m, err
}
