package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// line is an operation in JSON, or the last line of a file.
type line struct {
	Client  int         `json:"client"`
	Call    int64       `json:"call"`
	Return  int64       `json:"return,omitempty"` // absent if the outcome is unknown
	Outcome string      `json:"outcome"`
	Op      *opLine     `json:"op"`
	Expect  data        `json:"expect,omitzero"`
	Result  *resultLine `json:"result,omitempty"`
	Err     string      `json:"error,omitempty"`
	Final   bool        `json:"final,omitempty"`
	// End is how many operations there were.
	End *int `json:"end,omitempty"`
}

type opLine struct {
	Kind    target.Kind `json:"kind"`
	Key     data        `json:"key,omitzero"`
	Value   data        `json:"value,omitzero"`
	Delta   int64       `json:"delta,omitempty"`
	Version data        `json:"version,omitzero"`
	Limit   int         `json:"limit,omitempty"`
	Ops     []opLine    `json:"ops,omitempty"`
}

type resultLine struct {
	Found   bool         `json:"found,omitempty"`
	Value   data         `json:"value,omitzero"`
	Version data         `json:"version,omitzero"`
	Number  int64        `json:"number,omitempty"`
	Met     bool         `json:"met,omitempty"`
	Results []resultLine `json:"results,omitempty"`
}

// data is text in JSON where that says the same, else base64 in an object.
// None at all is not the same as an empty one.
type data []byte

func (d data) MarshalJSON() ([]byte, error) {
	if utf8.Valid(d) {
		return json.Marshal(string(d))
	}
	return json.Marshal(struct {
		Base64 []byte `json:"base64"`
	}{d})
}

func (d *data) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*d = data(s)
		return err
	}
	var o struct {
		Base64 []byte `json:"base64"`
	}
	err := json.Unmarshal(b, &o)
	*d = o.Base64
	return err
}

// text returns the data of a string that may be left out.
func text(s string) data {
	if s == "" {
		return nil
	}
	return data(s)
}

// IsZero reports whether there are no data.
func (d data) IsZero() bool { return d == nil }

// encode returns an operation as a line of JSON.
func encode(o *Operation) ([]byte, error) {
	op := opOut(o.Op)
	l := line{
		Client: o.Client, Call: int64(o.Call), Return: int64(o.Return), Outcome: o.Outcome.String(),
		Op: &op, Expect: o.Expect, Err: strings.ToValidUTF8(o.Err, "?"), Final: o.Final,
	}
	switch o.Outcome {
	case target.OK:
		r := resultOut(o.Result)
		l.Result = &r
	case target.Unknown:
		l.Return = 0
	}
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}

// operation returns what a line stands for.
func (l *line) operation() (Operation, error) {
	o := Operation{
		Client: l.Client, Call: time.Duration(l.Call), Return: time.Duration(l.Return),
		Expect: l.Expect, Err: l.Err, Final: l.Final,
	}
	if l.Op == nil {
		return o, fmt.Errorf("there is no operation")
	}
	o.Op = l.Op.in()
	switch l.Outcome {
	case target.OK.String():
		if l.Result == nil {
			return o, fmt.Errorf("there is no result")
		}
		o.Result = l.Result.in()
		if o.Op.Kind == target.Batch && len(o.Result.Results) != len(o.Op.Ops) {
			return o, fmt.Errorf("%d results of %d operations", len(o.Result.Results), len(o.Op.Ops))
		}
		if o.Op.Kind == target.ScanPrefix && len(o.Result.Results) < len(o.Op.Ops) {
			return o, fmt.Errorf("%d results of %d keys", len(o.Result.Results), len(o.Op.Ops))
		}
	case target.Failed.String():
		o.Outcome = target.Failed
	case target.Unknown.String():
		o.Outcome, o.Return = target.Unknown, Forever
	default:
		return o, fmt.Errorf("outcome %q is not known", l.Outcome)
	}
	if o.Call < 0 || o.Return < o.Call {
		return o, fmt.Errorf("it returned at %d and was called at %d", l.Return, l.Call)
	}
	return o, nil
}

func opOut(op target.Op) opLine {
	l := opLine{Kind: op.Kind, Key: text(op.Key), Value: op.Value, Delta: op.Delta, Version: text(op.Version), Limit: op.Limit}
	for _, part := range op.Ops {
		l.Ops = append(l.Ops, opOut(part))
	}
	return l
}

func (l opLine) in() target.Op {
	op := target.Op{Kind: l.Kind, Key: string(l.Key), Value: l.Value, Delta: l.Delta, Version: string(l.Version), Limit: l.Limit}
	for _, part := range l.Ops {
		op.Ops = append(op.Ops, part.in())
	}
	return op
}

func resultOut(r target.Result) resultLine {
	l := resultLine{Found: r.Found, Value: r.Value, Version: text(r.Version), Number: r.Number, Met: r.Met}
	for _, part := range r.Results {
		l.Results = append(l.Results, resultOut(part))
	}
	return l
}

func (l resultLine) in() target.Result {
	r := target.Result{Found: l.Found, Value: l.Value, Version: string(l.Version), Number: l.Number, Met: l.Met}
	for _, part := range l.Results {
		r.Results = append(r.Results, part.in())
	}
	return r
}

// byCall sorts operations by when they were called.
func byCall(ops []Operation) {
	slices.SortStableFunc(ops, func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
}
