package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrIncomplete is returned for a history whose end is missing: what was under
// way may have had effects that it does not show.
var ErrIncomplete = errors.New("the history is not complete")

// maxLine bounds a line that is read. Values are under 1 MiB, and take up to
// six times as much in JSON.
const maxLine = 64 << 20

// Read returns the operations of a whole history, in the order of their calls.
func Read(in io.Reader) ([]Operation, error) {
	var ops []Operation
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 0, 1<<16), maxLine)
	end := -1
	for n := 1; scanner.Scan(); n++ {
		if end >= 0 {
			return nil, fmt.Errorf("line %d: something stands behind the end", n)
		}
		var l line
		dec := json.NewDecoder(bytes.NewReader(scanner.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if l.End != nil {
			end = *l.End
			continue
		}
		o, err := l.operation()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		ops = append(ops, o)
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	if end != len(ops) {
		return nil, fmt.Errorf("%w: %d operations are there, the end says %d", ErrIncomplete, len(ops), end)
	}
	byCall(ops)
	return ops, nil
}

// ReadFile returns the operations of a file.
func ReadFile(path string) ([]Operation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	ops, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ops, nil
}

// WriteFile writes a history as a [Recorder] does.
func WriteFile(path string, ops []Operation) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	r := NewRecorder(f)
	for i := range ops {
		r.Add(&ops[i])
	}
	return errors.Join(r.Close(), f.Close())
}
