package resp

import (
	"errors"
	"fmt"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// refusal is an error of a command as Redis words it; its first word is a code.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errSyntax     = refusal("ERR syntax error")
	errNotInteger = refusal("ERR value is not an integer or out of range")
	errOverflow   = refusal("ERR increment or decrement would overflow")
	errCrossSlot  = refusal("CROSSSLOT Keys in request don't hash to the same slot")
)

func errArity(name string) refusal {
	return refusal(fmt.Sprintf("ERR wrong number of arguments for '%s' command", name))
}

func errUnknown(name []byte) refusal {
	return refusal(fmt.Sprintf("ERR unknown command %.64q", name))
}

func errSubcommand(command string, sub []byte) refusal {
	return refusal(fmt.Sprintf("ERR unknown subcommand %.64q of '%s'", sub, command))
}

func errExpire(name string) refusal {
	return refusal(fmt.Sprintf("ERR invalid expire time in '%s' command", name))
}

// wording returns an error of a request in the words of Redis. The codes that
// clients retry by themselves, MOVED and CLUSTERDOWN, stand for errors that
// prove that nothing was executed; UNKNOWN, which none of them knows, for
// writes of which that cannot be said.
func wording(err error, slot int, m *clusterkit.Map) string {
	if r := refusal(""); errors.As(err, &r) {
		return string(r)
	}
	e := (*api.Error)(nil)
	if !errors.As(err, &e) {
		return "UNKNOWN internal error: " + err.Error()
	}
	switch e.Details["reason"] {
	case api.ReasonNotANumber:
		return string(errNotInteger)
	case api.ReasonOverflow:
		return string(errOverflow)
	}
	switch e.Code {
	case api.CodeOutcomeUnknown:
		return "UNKNOWN " + e.Message
	case api.CodeUnavailable:
		return "CLUSTERDOWN " + e.Message
	case api.CodeNotPrimary:
		id := e.Details["primary"]
		if addr := address(m.Node(id)); addr != "" {
			return fmt.Sprintf("MOVED %d %s", slot, addr)
		}
		return fmt.Sprintf("CLUSTERDOWN the primary %s does not speak this protocol: set RESP_ADDR on all nodes", id)
	case api.CodeUnauthenticated:
		return "NOAUTH " + e.Message
	case api.CodeForbidden:
		return "NOPERM " + e.Message
	default:
		return "ERR " + e.Message
	}
}
