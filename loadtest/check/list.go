package check

import (
	"cmp"
	"slices"
	"strings"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// list checks a key to which elements are appended that end with a comma: every
// acknowledged element is there, once, and behind what had been seen before it.
func list(all []access, report report) {
	elements := map[string]access{}
	for _, a := range all {
		if a.step.Kind != target.Append {
			continue
		}
		element := string(a.step.Value)
		if _, repeated := elements[element]; repeated || strings.Index(element, ",") != len(element)-1 {
			return // what is read cannot be taken apart
		}
		elements[element] = a
	}
	var reads []access
	for _, a := range all {
		if a.reads() {
			reads = append(reads, a)
			readList(a, elements, report)
		}
	}
	slices.SortStableFunc(reads, func(a, b access) int { return cmp.Compare(len(a.answer.Value), len(b.answer.Value)) })
	for i := 1; i < len(reads); i++ {
		short, long := reads[i-1], reads[i]
		if !strings.HasPrefix(string(long.answer.Value), string(short.answer.Value)) {
			report(Lost, "what the read at %v shows is not where that at %v has it", short.Call, long.Call)
		}
	}
}

// readList checks what one read shows.
func readList(read access, elements map[string]access, report report) {
	shown := map[string]bool{}
	for element := range strings.SplitAfterSeq(string(read.answer.Value), ",") {
		a, ok := elements[element]
		switch {
		case element == "":
		case !ok || a.Call > read.Return:
			report(Corrupt, "the read at %v shows %q, which nobody had appended", read.Call, element)
		case a.Outcome == target.Failed:
			report(Phantom, "the read at %v shows %q, which was reported as not appended: %s", read.Call, element, a.Err)
		case shown[element]:
			report(Duplicated, "the read at %v shows %q twice", read.Call, element)
		}
		shown[element] = true
	}
	for element, a := range elements {
		if a.Outcome == target.OK && a.Return < read.Call && !shown[element] {
			report(read.gone(), "the read at %v lacks %q, acknowledged at %v", read.Call, element, a.Return)
		}
	}
}
