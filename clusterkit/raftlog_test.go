package clusterkit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRaftRepeatsItselfQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		to := slog.New(slog.NewTextHandler(&out, nil))
		log := newRaftLogger(to, slog.LevelWarn)
		log.Info("became leader")
		for range 100 {
			log.Error("failed to heartbeat to", "peer", "n2")
			log.With("peer", "n3").Warn("failed to contact")
		}
		if got := strings.Count(out.String(), "\n"); got != 2 {
			t.Errorf("%d lines, want one for each message:\n%s", got, out.String())
		}
		time.Sleep(repeatInterval)
		log.Error("failed to heartbeat to", "peer", "n2")
		newRaftLogger(to, slog.LevelDebug).Error("failed to decode incoming command")
		if got := strings.Count(out.String(), "\n"); got != 3 {
			t.Errorf("%d lines, want the repetition after %s:\n%s", got, repeatInterval, out.String())
		}
	})
}
