package nemesis

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Spec is one fault, as in "netem:delay=50ms,loss=2%" or "kill:primary".
type Spec struct {
	// Name is one of those that [Names] lists.
	Name string
	// Variant is one of the fault's, "" for any.
	Variant string
	// params are values of parameters by their names.
	params map[string]string
}

// Strike is one or several faults that begin together.
type Strike struct {
	Faults []Spec
	// At is how long after the start of the load it begins, if Timed.
	At    time.Duration
	Timed bool
	// Hold is how long it lasts; 0 leaves that to the plan.
	Hold time.Duration
}

// All stands for every fault in a list.
const All = "all"

const (
	holdParam = "hold"
	timeMark  = "@"
)

// Parse reads a list of strikes, separated by commas. A strike is
//
//	name[:variant][:parameter=value,...][+...][@time]
//
// where + joins faults that begin together, @ says how long after the start of
// the load, and the parameter hold how long it lasts. An element that is
// nothing but parameter=value belongs to the one before.
func Parse(list string) ([]Strike, error) {
	var strikes []Strike
	for _, text := range elements(list) {
		if text == All {
			for _, name := range Names() {
				strikes = append(strikes, Strike{Faults: []Spec{{Name: name}}})
			}
			continue
		}
		s, err := parseStrike(text)
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", text, err)
		}
		strikes = append(strikes, s)
	}
	if len(strikes) == 0 {
		return nil, fmt.Errorf("no fault is given, give some of: %s, %s", All, strings.Join(Names(), ", "))
	}
	for _, s := range strikes {
		if s.Timed != strikes[0].Timed {
			return nil, errors.New("some faults have a time and some have none: give one to all or to none")
		}
	}
	return strikes, nil
}

// elements splits a list at its commas, but not before further parameters.
func elements(list string) []string {
	var all []string
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		name, _, assigns := strings.Cut(text, "=")
		switch {
		case text == "":
		case assigns && !strings.Contains(name, ":") && len(all) > 0:
			all[len(all)-1] += "," + text
		default:
			all = append(all, text)
		}
	}
	return all
}

func parseStrike(text string) (Strike, error) {
	var (
		s   Strike
		at  string
		err error
	)
	if text, at, s.Timed = strings.Cut(text, timeMark); s.Timed {
		if s.At, err = time.ParseDuration(at); err != nil || s.At < 0 {
			return s, fmt.Errorf("the time is %q: give a duration, like 30s", at)
		}
	}
	disks := 0
	for part := range strings.SplitSeq(text, "+") {
		spec, err := parseSpec(part)
		if err != nil {
			return s, err
		}
		if hold, ok := spec.params[holdParam]; ok {
			s.Hold, _ = time.ParseDuration(hold)
			delete(spec.params, holdParam)
		}
		f, _ := faultOf(spec.Name)
		if f.losesDisk {
			disks++
		}
		s.Faults = append(s.Faults, spec)
	}
	if disks > 1 {
		return s, errors.New("more than one of the faults takes a disk's data: no store promises to survive that")
	}
	return s, nil
}

func parseSpec(text string) (Spec, error) {
	fields := strings.Split(text, ":")
	s := Spec{Name: fields[0], params: map[string]string{}}
	f, ok := faultOf(s.Name)
	if !ok {
		return s, fmt.Errorf("%q is not known, give one of: %s", s.Name, strings.Join(Names(), ", "))
	}
	for _, field := range fields[1:] {
		if !strings.Contains(field, "=") {
			if !slices.Contains(f.variants, field) || s.Variant != "" {
				return s, fmt.Errorf("%s has no variant %q, %s", s.Name, field, f.choices())
			}
			s.Variant = field
			continue
		}
		for assignment := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(assignment, "=")
			check, ok := f.params[name]
			if name == holdParam {
				check, ok = positiveDuration, true
			}
			if !ok {
				return s, fmt.Errorf("%s has no parameter %q, give one of: %s", s.Name, name, strings.Join(f.paramNames(), ", "))
			}
			if err := check(value); err != nil {
				return s, fmt.Errorf("%s is %q: %w", name, value, err)
			}
			s.params[name] = value
		}
	}
	return s, nil
}

func (f *fault) choices() string {
	if len(f.variants) == 0 {
		return "and none at all"
	}
	return "give one of: " + strings.Join(f.variants, ", ")
}

func (f *fault) paramNames() []string {
	return append(slices.Sorted(maps.Keys(f.params)), holdParam)
}

func (s Spec) String() string {
	parts := []string{s.Name}
	if s.Variant != "" {
		parts = append(parts, s.Variant)
	}
	var params []string
	for _, name := range slices.Sorted(maps.Keys(s.params)) {
		params = append(params, name+"="+s.params[name])
	}
	if len(params) > 0 {
		parts = append(parts, strings.Join(params, ","))
	}
	return strings.Join(parts, ":")
}

func (s Strike) String() string {
	var names []string
	for _, spec := range s.Faults {
		names = append(names, spec.String())
	}
	return strings.Join(names, "+")
}

func positiveDuration(value string) error {
	if d, err := time.ParseDuration(value); err != nil || d <= 0 {
		return errors.New("give a duration of more than 0, like 5s")
	}
	return nil
}

func anyDuration(value string) error {
	if d, err := time.ParseDuration(value); err != nil || d == 0 {
		return errors.New("give a duration, like 1h or -1h")
	}
	return nil
}

func percentage(value string) error {
	_, err := parsePercentage(value)
	return err
}

func parsePercentage(value string) (float64, error) {
	number, ok := strings.CutSuffix(value, "%")
	p, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || p <= 0 || p > 100 {
		return 0, errors.New("give a share of more than 0% and at most 100%, like 2%")
	}
	return p / 100, nil
}

// duration returns a parameter, or usual if it is not given.
func (s Spec) duration(name string, usual time.Duration) time.Duration {
	if d, err := time.ParseDuration(s.params[name]); err == nil {
		return d
	}
	return usual
}

// share returns a parameter, 0 if it is not given.
func (s Spec) share(name string) float64 {
	p, err := parsePercentage(s.params[name])
	if err != nil {
		return 0
	}
	return p
}
