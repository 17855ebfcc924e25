package nemesis

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for list, want := range map[string][]string{
		"kill:primary":                             {"kill:primary"},
		"kill, pause:leader ,":                     {"kill", "pause:leader"},
		"netem:delay=50ms,loss=2%,kill":            {"netem:delay=50ms,loss=2%", "kill"},
		"netem:delay:loss=2%":                      {"netem:delay:loss=2%"},
		"partition:one-way+netem:delay=1s,loss=1%": {"partition:one-way+netem:delay=1s,loss=1%"},
		"clock:jump=-1h,hold=3s+kill":              {"clock:jump=-1h+kill"},
		"all":                                      Names(),
		"all,kill:both":                            append(Names(), "kill:both"),
		"kill:primary@10s,partition:halves@1m+1s":  nil,
		"kill:primary@10s,partition:halves@1m":     {"kill:primary", "partition:halves"},
	} {
		strikes, err := Parse(list)
		if want == nil {
			if err == nil {
				t.Errorf("%q: %v, want an error", list, strikes)
			}
			continue
		}
		var got []string
		for _, s := range strikes {
			got = append(got, s.String())
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", list, got, err, want)
		}
	}
	s, err := Parse("kill@90s,pause:hold=2s@2m")
	if err != nil || s[0].At != 90*time.Second || !s[0].Timed || s[0].Hold != 0 || s[1].Hold != 2*time.Second || s[1].At != 2*time.Minute {
		t.Errorf("%+v, %v", s, err)
	}
}

// What cannot be used is refused with what can.
func TestParseRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                    "kill, pause",
		"kil":                 `"kil" is not known, give one of: kill, pause`,
		"kill:secondary":      `kill has no variant "secondary", give one of: primary, replica, leader, both, all`,
		"kill:primary:leader": `kill has no variant "leader"`,
		"restart:fast":        `restart has no variant "fast", and none at all`,
		"kill:delay=1s":       `kill has no parameter "delay", give one of: hold`,
		"netem:delay":         "",
		"netem:delay=fast":    `delay is "fast": give a duration`,
		"netem:loss=200%":     `loss is "200%": give a share`,
		"netem:loss=2":        `loss is "2": give a share`,
		"netem:lag=1s":        "give one of: delay, loss, reorder, hold",
		"kill:hold=0s":        `hold is "0s"`,
		"clock:jump=0":        `jump is "0"`,
		"kill@soon":           `the time is "soon"`,
		"kill@-1s":            `the time is "-1s"`,
		"kill@1s,pause":       "some faults have a time",
		"wipe+corrupt":        "more than one of the faults takes a disk's data",
		"kill+":               `"" is not known`,
	} {
		_, err := Parse(list)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", list, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", list, err, want)
		}
	}
}

func TestCatalogue(t *testing.T) {
	lines := strings.Join(Catalogue(), "\n")
	for _, want := range []string{"kill:primary|replica|leader|both|all\tend processes", "restart\tstop", "netem:delay|loss|reorder\t"} {
		if !strings.Contains(lines, want) {
			t.Errorf("there is no %q in\n%s", want, lines)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, list := range []string{"all", "kill:primary@1s", "netem:delay=1s,loss=1%+wipe", "a:b=c,d=@+:"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		strikes, err := Parse(list)
		if err != nil {
			return
		}
		for _, s := range strikes {
			again, err := Parse(s.String())
			if err != nil || len(again) != 1 || again[0].String() != s.String() {
				t.Errorf("%q became %q, and that %v, %v", list, s, again, err)
			}
		}
	})
}
