package clusterkit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes Raft's log on to slog. Raft repeats a warning for as long
// as its cause lasts, several times a second for each peer that is away; what
// is repeated within repeatInterval becomes Debug, as does Raft's Info.
type raftLogger struct {
	hclog.Logger
	log *slog.Logger
	// loudest bounds the level.
	loudest slog.Level
	said    *repetitions
}

const repeatInterval = 30 * time.Second

func newRaftLogger(log *slog.Logger, loudest slog.Level) hclog.Logger {
	return raftLogger{Logger: hclog.NewNullLogger(), log: log, loudest: loudest, said: newRepetitions()}
}

func (l raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Warn && !l.said.lately(msg) {
		to = min(slog.LevelWarn, l.loudest)
	}
	l.log.Log(context.Background(), to, "raft: "+msg, args...)
}

func (l raftLogger) Trace(string, ...any)           {}
func (l raftLogger) Debug(msg string, args ...any)  { l.Log(hclog.Debug, msg, args...) }
func (l raftLogger) Info(msg string, args ...any)   { l.Log(hclog.Info, msg, args...) }
func (l raftLogger) Warn(msg string, args ...any)   { l.Log(hclog.Warn, msg, args...) }
func (l raftLogger) Error(msg string, args ...any)  { l.Log(hclog.Error, msg, args...) }
func (l raftLogger) Named(string) hclog.Logger      { return l }
func (l raftLogger) ResetNamed(string) hclog.Logger { return l }

func (l raftLogger) With(args ...any) hclog.Logger {
	l.log = l.log.With(args...)
	return l
}

// repetitions remembers what was said when, of a limited set of messages.
type repetitions struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newRepetitions() *repetitions { return &repetitions{last: make(map[string]time.Time)} }

func (r *repetitions) lately(msg string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	last, said := r.last[msg]
	if said && now.Sub(last) < repeatInterval {
		return true
	}
	r.last[msg] = now
	return false
}
