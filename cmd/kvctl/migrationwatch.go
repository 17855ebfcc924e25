package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// watchEvery is how often the moves are looked at.
const watchEvery = time.Second

func (k *kvctl) migrationWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Show the moves as they go on, until nothing is left",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.asAdmin(cmd.Context(), func(ctx context.Context, a *admin) error {
				show := showLines(k.stdout)
				if terminal(k.stdout) {
					show = showScreen(k.stdout)
				}
				return a.watchMigrations(ctx, show)
			})
		},
	}
}

// watchMigrations shows the moves again and again, until nothing is left.
func (a *admin) watchMigrations(ctx context.Context, show func(*migrations) error) error {
	for {
		l, err := a.migrations(ctx)
		if err != nil {
			return err
		}
		if err := show(l); err != nil {
			return err
		}
		if len(l.rows()) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchEvery):
		}
	}
}

// terminal reports whether somebody looks at what is written.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// showScreen draws the list over the one before.
func showScreen(w io.Writer) func(*migrations) error {
	const home, clearLine, clearRest = "\x1b[H", "\x1b[K\n", "\x1b[J"
	fmt.Fprint(w, "\x1b[2J")
	return func(l *migrations) error {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s, map %d\n\n", time.Now().Format(time.TimeOnly), l.Version)
		if err := l.print(&b); err != nil {
			return err
		}
		l.warn(&b)
		screen := bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte(clearLine))
		_, err := fmt.Fprintf(w, "%s%s%s", home, screen, clearRest)
		return err
	}
}

// showLines writes a line for each thing that has changed.
func showLines(w io.Writer) func(*migrations) error {
	shown := map[string]string{}
	return func(l *migrations) error {
		rows, waiting := l.rows(), 0
		next := map[string]string{}
		var lines []string
		for _, r := range rows {
			if r.why() != "" {
				waiting++
			}
			if r.copying == nil {
				continue
			}
			name := r.Partition + " " + r.Node
			line := fmt.Sprintf("%s: %s <- %s: %s, %s, %s, ETA %s", r.Partition, r.Node, orDash(r.From), r.phase(), r.progress(), r.rate(), r.eta())
			if why := r.why(); why != "" {
				line += ", waits because " + why
			}
			if next[name] = line; shown[name] != line {
				lines = append(lines, line)
			}
		}
		paused := ""
		if l.Paused {
			paused = ", paused"
		}
		total := fmt.Sprintf("map %d: %d moves left, %d of them waiting%s", l.Version, len(rows), waiting, paused)
		if next[""] = total; shown[""] != total {
			lines = append([]string{total}, lines...)
		}
		shown = next
		for _, line := range lines {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		return nil
	}
}
