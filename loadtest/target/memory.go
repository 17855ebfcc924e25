package target

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Memory is a store in memory, linearizable and with every operation, but for
// what Intercept does to them.
type Memory struct {
	// Intercept, if set, stands in for each operation: execute carries out what
	// was asked for, or something else, as often and as late as it is called. It
	// is to be set before the first operation.
	Intercept func(ctx context.Context, op Op, execute func(Op) (Result, error)) (Result, error)

	mu     sync.Mutex
	values map[string]versioned
	writes uint64
}

type versioned struct {
	value   []byte
	version string
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{values: map[string]versioned{}} }

// Supports implements [Target].
func (m *Memory) Supports(k Kind) bool { return slices.Contains(kinds, k) }

// Close implements [Target].
func (m *Memory) Close() error { return nil }

// Do implements [Target].
func (m *Memory) Do(ctx context.Context, op Op) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, failed(context.Cause(ctx))
	}
	if m.Intercept != nil {
		return m.Intercept(ctx, op, m.Execute)
	}
	return m.Execute(op)
}

// Execute executes an operation correctly.
func (m *Memory) Execute(op Op) (Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.execute(op)
}

func (m *Memory) execute(op Op) (Result, error) {
	before, found := m.values[op.Key]
	switch op.Kind {
	case Get:
		return Result{Found: found, Value: slices.Clone(before.value), Version: before.version}, nil
	case Set:
		return Result{Version: m.put(op.Key, op.Value)}, nil
	case Delete:
		delete(m.values, op.Key)
		return Result{}, nil
	case Create:
		if found {
			return Result{}, nil
		}
		return Result{Met: true, Version: m.put(op.Key, op.Value)}, nil
	case CompareAndSet:
		if !found || before.version != op.Version {
			return Result{}, nil
		}
		return Result{Met: true, Version: m.put(op.Key, op.Value)}, nil
	case Increment:
		n := op.Delta
		if found {
			was, err := strconv.ParseInt(string(before.value), 10, 64)
			if err != nil {
				return Result{}, failed(err)
			}
			n += was
		}
		return Result{Number: n, Version: m.put(op.Key, strconv.AppendInt(nil, n, 10))}, nil
	case Append:
		value := slices.Concat(before.value, op.Value)
		return Result{Number: int64(len(value)), Version: m.put(op.Key, value)}, nil
	case MGet, Batch:
		return m.each(op)
	case Scan:
		return m.scan(op), nil
	case ScanPrefix:
		return m.scanPrefix(op), nil
	default:
		return Result{}, unsupported(op.Kind)
	}
}

func (m *Memory) put(key string, value []byte) (version string) {
	m.writes++
	version = strconv.FormatUint(m.writes, 10)
	m.values[key] = versioned{slices.Clone(value), version}
	return version
}

// each executes the parts of an operation, or none of them.
func (m *Memory) each(op Op) (Result, error) {
	undo := m.values
	if op.Kind == Batch {
		m.values = maps.Clone(m.values)
	}
	r := Result{Results: make([]Result, len(op.Ops))}
	for i, part := range op.Ops {
		var err error
		if op.Kind == Batch && !part.inBatch() {
			err = failedf("%w in a batch: %s", ErrUnsupported, part.Kind)
		} else {
			r.Results[i], err = m.execute(part)
		}
		if err != nil {
			m.values = undo
			return Result{}, err
		}
	}
	return r, nil
}

func (m *Memory) scan(op Op) Result {
	var r Result
	for _, key := range slices.Sorted(maps.Keys(m.values)) {
		if key >= op.Key && len(r.Results) < op.Limit {
			v := m.values[key]
			r.Results = append(r.Results, Result{Found: true, Value: slices.Clone(v.value), Version: v.version})
		}
	}
	return r
}

func (m *Memory) scanPrefix(op Op) Result {
	var s scanned
	for key, v := range m.values {
		if strings.HasPrefix(key, op.Key) {
			s.add(key, slices.Clone(v.value), v.version)
		}
	}
	return s.result(op)
}
