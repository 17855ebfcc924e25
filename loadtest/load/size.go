package load

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Size says how long values are, in bytes. It is a [pflag.Value]: 256 is a fixed
// size, 96-4096 any of these equally often, and 256:9,64000:1 nine values of the
// one to each of the other.
type Size struct{ parts []sizes }

// sizes are those from min to max, and how often they occur.
type sizes struct {
	min, max int
	weight   float64
}

// Fixed is the same size for all values.
func Fixed(bytes int) Size { return Size{[]sizes{{bytes, bytes, 1}}} }

// ParseSize reads what String writes.
func ParseSize(s string) (Size, error) {
	var size Size
	for part := range strings.SplitSeq(s, ",") {
		span, weight, weighted := strings.Cut(part, ":")
		low, high, spread := strings.Cut(span, "-")
		if !spread {
			high = low
		}
		if !weighted {
			weight = "1"
		}
		p := sizes{}
		var errs [3]error
		p.min, errs[0] = strconv.Atoi(low)
		p.max, errs[1] = strconv.Atoi(high)
		p.weight, errs[2] = strconv.ParseFloat(weight, 64)
		if errs != [3]error{} || p.min > p.max || !(p.weight > 0 && p.weight <= maxRate) {
			return Size{}, fmt.Errorf("size %q: give bytes like 256, 96-4096 or 256:9,64000:1", s)
		}
		size.parts = append(size.parts, p)
	}
	return size, nil
}

// Set implements [pflag.Value].
func (s *Size) Set(text string) error {
	parsed, err := ParseSize(text)
	if err == nil {
		*s = parsed
	}
	return err
}

// Type implements [pflag.Value].
func (s *Size) Type() string { return "size" }

func (s Size) String() string {
	var all []string
	for _, p := range s.parts {
		text := strconv.Itoa(p.min)
		if p.max != p.min {
			text += "-" + strconv.Itoa(p.max)
		}
		if len(s.parts) > 1 {
			text += ":" + strconv.FormatFloat(p.weight, 'g', -1, 64)
		}
		all = append(all, text)
	}
	return strings.Join(all, ",")
}

// choose returns the size of one value.
func (s Size) choose(random *rand.Rand) int {
	p := s.parts[0]
	if len(s.parts) > 1 {
		sum := 0.0
		for _, p := range s.parts {
			sum += p.weight
		}
		u := random.Float64() * sum
		for _, p = range s.parts {
			if u -= p.weight; u < 0 {
				break
			}
		}
	}
	return p.min + random.IntN(p.max-p.min+1)
}
