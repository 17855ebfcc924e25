package resp

import (
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// request is what a command asks of the store.
type request struct {
	name     string
	commands []api.Command
	// answer appends what the client is told of the results, and unmet what it
	// is told if the command's condition is not met; nil if it has none.
	answer func(dst []byte, results []api.Result) []byte
	unmet  func(dst []byte) []byte
}

// reset makes the request one of the named command.
func (q *request) reset(name string) {
	clear(q.commands)
	*q = request{name: name, commands: q.commands[:0]}
}

func (q *request) add(c api.Command) { q.commands = append(q.commands, c) }

// one makes the request that of one command.
func (q *request) one(c api.Command, answer func([]byte, []api.Result) []byte) error {
	q.add(c)
	q.answer = answer
	return nil
}

// each adds a command for each key.
func (q *request) each(keys [][]byte, c api.Command, answer func([]byte, []api.Result) []byte) error {
	for _, key := range keys {
		c.Key = key
		q.add(c)
	}
	q.answer = answer
	return nil
}

// sameSlot returns an error if the keys are in more than one slot. One partition
// would do, but that would depend on how many there are.
func (q *request) sameSlot() error {
	for i := 1; i < len(q.commands); i++ {
		if slotOf(q.commands[i].Key) != slotOf(q.commands[0].Key) {
			return errCrossSlot
		}
	}
	return nil
}

func slotOf(key []byte) int { return clusterkit.Slot(string(key)) }

// integer reads a number that is an argument.
func integer(arg []byte) (int64, error) {
	n, err := strconv.ParseInt(string(arg), 10, 64)
	if err != nil {
		return 0, errNotInteger
	}
	return n, nil
}

// expiry reads when a value is to expire: in so many units, or at that many
// units after the beginning of 1970. In the past it is 0 or less.
func (q *request) expiry(arg []byte, unit time.Duration, absolute bool) (ttl int64, err error) {
	n, err := integer(arg)
	if err != nil {
		return 0, err
	}
	perUnit := unit.Milliseconds()
	if n > (1<<62)/perUnit || n < -(1<<62)/perUnit {
		return 0, errExpire(q.name)
	}
	ttl = n * perUnit
	if absolute {
		ttl -= time.Now().UnixMilli()
	}
	if ttl > api.MaxTTL {
		return 0, errExpire(q.name)
	}
	return ttl, nil
}
