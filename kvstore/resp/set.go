package resp

import (
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// askSet is SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms |
// KEEPTTL].
func askSet(q *request, args [][]byte) error {
	c := api.Command{Op: api.OpSet, Key: args[1], Value: args[2]}
	q.answer = tellOK
	timed := false
	for rest := args[3:]; len(rest) > 0; rest = rest[1:] {
		if unit, absolute, ok := expiryOption(rest[0]); ok {
			if timed || len(rest) < 2 {
				return errSyntax
			}
			ttl, err := q.expiry(rest[1], unit, absolute)
			if err != nil {
				return err
			}
			if ttl <= 0 && !absolute {
				return errExpire(q.name)
			}
			if c.TTL, timed = ttl, true; ttl <= 0 {
				c.Op, c.Value, c.TTL = api.OpDelete, nil, 0 // it has expired already
			}
			rest = rest[1:]
			continue
		}
		switch {
		case is(rest[0], "NX") && c.If == api.IfAny && !c.Report:
			c.If, q.unmet = api.IfAbsent, appendNil
		case is(rest[0], "XX") && c.If == api.IfAny:
			c.If, q.unmet = api.IfPresent, appendNil
		case is(rest[0], "GET") && c.If != api.IfAbsent:
			c.Report, q.answer = true, tellValue
		case is(rest[0], "KEEPTTL") && !timed:
			c.KeepTTL, timed = true, true
		default:
			return errSyntax
		}
	}
	q.add(c)
	return nil
}

// expiryOption reads the name of an option that says when a value expires.
func expiryOption(arg []byte) (unit time.Duration, absolute, ok bool) {
	switch {
	case is(arg, "EX"):
		return time.Second, false, true
	case is(arg, "PX"):
		return time.Millisecond, false, true
	case is(arg, "EXAT"):
		return time.Second, true, true
	case is(arg, "PXAT"):
		return time.Millisecond, true, true
	default:
		return 0, false, false
	}
}

func askSetEX(q *request, args [][]byte) error { return q.setFor(args, time.Second) }

func askPSetEX(q *request, args [][]byte) error { return q.setFor(args, time.Millisecond) }

func (q *request) setFor(args [][]byte, unit time.Duration) error {
	ttl, err := q.expiry(args[2], unit, false)
	if err != nil {
		return err
	}
	if ttl <= 0 {
		return errExpire(q.name)
	}
	return q.one(api.Command{Op: api.OpSet, Key: args[1], Value: args[3], TTL: ttl}, tellOK)
}
