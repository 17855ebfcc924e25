package driver

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// niceness is well before that of everybody else.
const niceness = -10

// raisePriority lets this process, through which all packets between namespaces
// pass, and the nodes that it starts, run before what else the machine does, so
// that figures are less of that. Without the right to do so it does nothing.
func raisePriority() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		// Threads and processes that come later inherit it.
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
		}
	}
}
