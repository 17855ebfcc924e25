package resp

import (
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func askExpire(q *request, args [][]byte) error   { return q.expire(args, time.Second, false) }
func askPExpire(q *request, args [][]byte) error  { return q.expire(args, time.Millisecond, false) }
func askExpireAt(q *request, args [][]byte) error { return q.expire(args, time.Second, true) }
func askPExpireAt(q *request, args [][]byte) error {
	return q.expire(args, time.Millisecond, true)
}

// expire makes the request change when a key expires; one that has expired then
// is deleted.
func (q *request) expire(args [][]byte, unit time.Duration, absolute bool) error {
	ttl, err := q.expiry(args[2], unit, absolute)
	if err != nil {
		return err
	}
	if ttl <= 0 {
		return q.one(api.Command{Op: api.OpDelete, Key: args[1], Report: true}, tellFound)
	}
	return q.one(api.Command{Op: api.OpExpire, Key: args[1], TTL: ttl}, tellFound)
}

// askPersist looks before it writes, to tell whether there was an expiry.
func askPersist(q *request, args [][]byte) error {
	q.add(api.Command{Op: api.OpGet, Key: args[1]})
	return q.one(api.Command{Op: api.OpExpire, Key: args[1]}, tellPersisted)
}

// askGetEX is GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST].
func askGetEX(q *request, args [][]byte) error {
	q.add(api.Command{Op: api.OpGet, Key: args[1]})
	q.answer = tellValue
	if len(args) == 2 {
		return nil
	}
	if len(args) == 3 && is(args[2], "PERSIST") {
		q.add(api.Command{Op: api.OpExpire, Key: args[1]})
		return nil
	}
	unit, absolute, ok := expiryOption(args[2])
	if !ok || len(args) != 4 {
		return errSyntax
	}
	ttl, err := q.expiry(args[3], unit, absolute)
	switch {
	case err != nil:
		return err
	case ttl <= 0 && !absolute:
		return errExpire(q.name)
	case ttl <= 0:
		q.add(api.Command{Op: api.OpDelete, Key: args[1]})
	default:
		q.add(api.Command{Op: api.OpExpire, Key: args[1], TTL: ttl})
	}
	return nil
}

func askTTL(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpGet, Key: args[1]}, tellTTL)
}

func askPTTL(q *request, args [][]byte) error {
	return q.one(api.Command{Op: api.OpGet, Key: args[1]}, tellPTTL)
}

func tellPersisted(dst []byte, results []api.Result) []byte {
	if results[0].TTL == 0 {
		return appendNumber(dst, 0)
	}
	return appendNumber(dst, 1)
}

func tellTTL(dst []byte, results []api.Result) []byte {
	return appendNumber(dst, timeLeft(results[0], time.Second))
}

func tellPTTL(dst []byte, results []api.Result) []byte {
	return appendNumber(dst, timeLeft(results[0], time.Millisecond))
}

// timeLeft is what TTL says: -2 of no value, -1 of one that stays for ever.
func timeLeft(r api.Result, unit time.Duration) int64 {
	switch perUnit := unit.Milliseconds(); {
	case !r.Found:
		return -2
	case r.TTL == 0:
		return -1
	default:
		return (r.TTL + perUnit/2) / perUnit
	}
}
