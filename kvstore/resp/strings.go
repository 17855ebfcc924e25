package resp

import (
	"math"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func askGet(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpGet, Key: args[1]}, tellValue)
}

func askMGet(q *request, args [][]byte) error {
	return q.each(args[1:], api.Command{Op: api.OpGet}, tellValues)
}

func askStrlen(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpGet, Key: args[1]}, tellLength)
}

func askExists(q *request, args [][]byte) error {
	return q.each(args[1:], api.Command{Op: api.OpGet}, tellFound)
}

func askType(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpGet, Key: args[1]}, tellType)
}

func askSetNX(q *request, args [][]byte) error {
	q.unmet = tellZero
	return q.one(api.Command{Op: api.OpSet, Key: args[1], Value: args[2], If: api.IfAbsent}, tellOne)
}

func askMSet(q *request, args [][]byte) error {
	if len(args)%2 == 0 {
		return errArity(q.name)
	}
	for i := 1; i < len(args); i += 2 {
		q.add(api.Command{Op: api.OpSet, Key: args[i], Value: args[i+1]})
	}
	q.answer = tellOK
	return nil
}

func askMSetNX(q *request, args [][]byte) error {
	if err := askMSet(q, args); err != nil {
		return err
	}
	seen := make(map[string]bool, len(q.commands))
	for i := range q.commands {
		if c := &q.commands[i]; !seen[string(c.Key)] {
			seen[string(c.Key)] = true
			c.If = api.IfAbsent
		}
	}
	q.answer, q.unmet = tellOne, tellZero
	return nil
}

func askGetSet(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpSet, Key: args[1], Value: args[2], Report: true}, tellValue)
}

func askGetDel(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpDelete, Key: args[1], Report: true}, tellValue)
}

func askAppend(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpAppend, Key: args[1], Value: args[2]}, tellLength)
}

func askDel(q *request, args [][]byte) error {
	return q.each(args[1:], api.Command{Op: api.OpDelete, Report: true}, tellFound)
}

func askIncr(q *request, args [][]byte) error { return q.increment(args[1], 1) }

func askDecr(q *request, args [][]byte) error { return q.increment(args[1], -1) }

func askIncrBy(q *request, args [][]byte) error {
	delta, err := integer(args[2])
	if err != nil {
		return err
	}
	return q.increment(args[1], delta)
}

func askDecrBy(q *request, args [][]byte) error {
	delta, err := integer(args[2])
	if err != nil {
		return err
	}
	if delta == math.MinInt64 {
		return refusal("ERR decrement would overflow")
	}
	return q.increment(args[1], -delta)
}

func (q *request) increment(key []byte, delta int64) error {
	return q.one(api.Command{Op: api.OpIncrement, Key: key, Delta: delta}, tellNumber)
}

// These tell the client of results.

func tellOK(dst []byte, _ []api.Result) []byte { return appendOK(dst) }

func tellOne(dst []byte, _ []api.Result) []byte { return appendNumber(dst, 1) }

func tellZero(dst []byte) []byte { return appendNumber(dst, 0) }

// tellValue tells of the first result's value; without Found there was none.
func tellValue(dst []byte, results []api.Result) []byte {
	if !results[0].Found {
		return appendNil(dst)
	}
	return appendBulk(dst, results[0].Value)
}

func tellValues(dst []byte, results []api.Result) []byte {
	dst = appendArray(dst, len(results))
	for i := range results {
		dst = tellValue(dst, results[i:])
	}
	return dst
}

func tellLength(dst []byte, results []api.Result) []byte {
	return appendNumber(dst, int64(len(results[0].Value)))
}

func tellNumber(dst []byte, results []api.Result) []byte {
	return appendNumber(dst, results[0].Number)
}

func tellFound(dst []byte, results []api.Result) []byte {
	found := int64(0)
	for i := range results {
		if results[i].Found {
			found++
		}
	}
	return appendNumber(dst, found)
}

func tellType(dst []byte, results []api.Result) []byte {
	if !results[0].Found {
		return appendStatus(dst, "none")
	}
	return appendStatus(dst, "string")
}
