package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Window is the time of one strike, and what is known of it.
type Window struct {
	// Fault is what it was, as [Parse] reads it.
	Fault string `json:"fault"`
	// Names are those of the faults, without variants.
	Names []string `json:"names"`
	Round int      `json:"round"`
	// Nodes were hit.
	Nodes  []string `json:"nodes,omitempty"`
	Detail string   `json:"detail,omitempty"`
	// Began, Healed and Recovered are when it began, when everything was undone,
	// and when all copies were in sync again.
	Began     time.Time `json:"began"`
	Healed    time.Time `json:"healed"`
	Recovered time.Time `json:"recovered"`
	// Down is true if no store could serve all writes between Began and Healed,
	// because too few nodes were left or a disk had no room.
	Down bool `json:"down,omitempty"`
	// NotRun says why the fault was not, or not quite, run: then the window proves
	// nothing.
	NotRun string `json:"not_run,omitempty"`
	// Failure says why it could not be begun or healed as it should, or that the
	// cluster did not recover.
	Failure string `json:"failure,omitempty"`
}

// Options configure [Run].
type Options struct {
	Driver Driver
	Plan   Plan
	// Rounds is how often each strike happens at least, and Duration how long
	// strikes are begun at least. Those with times happen once.
	Rounds   int
	Duration time.Duration
	// AtMost is how long strikes are begun at most, whatever is left then; 0 is no
	// limit.
	AtMost time.Duration
	// RecoverWithin bounds how long a fault may take to begin, moves of data
	// included, how long to be healed, and how long it may then take until all
	// copies are in sync again. Whatever takes longer fails the run, with a
	// diagnosis.
	RecoverWithin time.Duration
	// Told, if not nil, is told of each window as it begins and as it ends.
	Told func(Window)
}

// diagnoseWithin bounds how long it may take to find out what is wrong.
const diagnoseWithin = 15 * time.Second

// ErrNotRecovered is returned when a cluster could not be healed, or did not
// recover in time: nothing more can be done to it.
var ErrNotRecovered = errors.New("the cluster did not recover")

// Run lets a plan happen and returns the windows of all strikes, also when it
// fails. When ctx ends it heals what it has begun, and returns no error.
func Run(ctx context.Context, o Options) ([]Window, error) {
	if err := o.Plan.Validate(); err != nil {
		return nil, err
	}
	r := &runner{Options: o, start: time.Now(), lacked: map[string]bool{}}
	for step := range o.Plan.Steps() {
		elapsed := time.Since(r.start)
		over := o.AtMost > 0 && elapsed >= o.AtMost
		if ctx.Err() != nil || !step.Timed && step.Round > max(1, o.Rounds) && (over || elapsed >= o.Duration) {
			break
		}
		if over {
			r.omit(step, fmt.Sprintf("no time was left after %v", o.AtMost))
			continue
		}
		if err := r.strike(ctx, step); err != nil {
			return r.windows, err
		}
	}
	return r.windows, nil
}

type runner struct {
	Options
	start   time.Time
	windows []Window
	// lacked are the faults of which it was told that they are not run.
	lacked map[string]bool
}

func (r *runner) tell(w Window) {
	if r.Told != nil {
		r.Told(w)
	}
}

// lacks says why a step is impossible, "" if it is not.
func (r *runner) lacks(step Step) string {
	for _, spec := range step.Faults {
		f, _ := faultOf(spec.Name)
		for _, m := range f.needs(spec) {
			if why := r.Driver.Lacks(m); why != "" {
				return fmt.Sprintf("no %s: %s", m, why)
			}
		}
	}
	return ""
}

// newWindow returns that of a step which begins now.
func newWindow(step Step) Window {
	w := Window{Fault: step.String(), Round: step.Round, Began: time.Now()}
	for _, spec := range step.Faults {
		w.Names = append(w.Names, spec.Name)
	}
	return w
}

// omit notes once why a fault is not run.
func (r *runner) omit(step Step, why string) {
	w := newWindow(step)
	if r.lacked[w.Fault] {
		return
	}
	r.lacked[w.Fault] = true
	w.NotRun, w.Healed, w.Recovered = why, w.Began, w.Began
	r.windows = append(r.windows, w)
	r.tell(w)
}

func (r *runner) strike(ctx context.Context, step Step) error {
	if why := r.lacks(step); why != "" {
		r.omit(step, why)
		return nil
	}
	w := newWindow(step)
	calm := step.Calm
	if step.Timed {
		calm = step.At - time.Since(r.start)
	}
	if !wait(ctx, calm) {
		return nil
	}
	scenes, err := r.prepare(ctx, step, &w)
	if !wait(ctx, 0) {
		return nil
	}
	if err != nil {
		return err
	}
	r.act(ctx, step, &w, scenes)
	r.windows = append(r.windows, w)
	r.tell(w)
	if w.Failure != "" && ctx.Err() == nil {
		return fmt.Errorf("%w: %s: %s\n%s", ErrNotRecovered, w.Fault, w.Failure, r.diagnose(ctx))
	}
	return nil
}

// prepare waits until the cluster may be hurt, and looks at it.
func (r *runner) prepare(ctx context.Context, step Step, w *Window) ([]*scene, error) {
	waiting, cancel := r.within(ctx)
	defer cancel()
	if err := r.Driver.AwaitInSync(waiting); err != nil {
		return nil, fmt.Errorf("%w before %s: %w\n%s", ErrNotRecovered, w.Fault, err, r.diagnose(ctx))
	}
	status, err := r.Driver.Status(waiting)
	if err != nil {
		return nil, fmt.Errorf("before %s: %w", w.Fault, err)
	}
	random := rand.New(rand.NewPCG(step.seed, 0))
	var scenes []*scene
	for _, spec := range lastFirst(step.Faults) {
		if f, _ := faultOf(spec.Name); f.losesDisk && status.MinInSync < 2 {
			w.NotRun = fmt.Sprintf("a disk must not be lost with min-in-sync %d", status.MinInSync)
		}
		scenes = append(scenes, &scene{driver: r.Driver, spec: spec, random: random, status: status, window: w})
	}
	return scenes, nil
}

// lastFirst begins with what is to be healed last: a node that comes back with
// damaged data, which has to be waited for.
func lastFirst(specs []Spec) []Spec {
	return slices.SortedStableFunc(slices.Values(specs), func(a, b Spec) int {
		order := map[bool]int{true: -1}
		f, _ := faultOf(a.Name)
		g, _ := faultOf(b.Name)
		return order[f.losesDisk] - order[g.losesDisk]
	})
}

// within bounds one thing that a cluster is waited for.
func (r *runner) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.RecoverWithin, fmt.Errorf("it took longer than %v", r.RecoverWithin))
}

func (r *runner) diagnose(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnoseWithin)
	defer cancel()
	return r.Driver.Diagnose(ctx)
}

// act begins, holds and heals, and waits until the cluster is whole.
func (r *runner) act(ctx context.Context, step Step, w *Window, scenes []*scene) {
	w.Began = time.Now()
	if w.NotRun == "" {
		r.begin(ctx, w, scenes)
		r.tell(*w)
	}
	if w.Failure == "" && w.NotRun == "" {
		wait(ctx, step.Hold)
	}
	for _, s := range slices.Backward(scenes) {
		r.heal(ctx, w, s)
	}
	w.Healed = time.Now()
	waiting, cancel := r.within(ctx)
	defer cancel()
	if err := r.Driver.AwaitInSync(waiting); err != nil && ctx.Err() == nil {
		w.fail("%v", err)
	}
	w.Recovered = time.Now()
}

// heal undoes one fault, also when the run is interrupted, and whatever became of
// the others.
func (r *runner) heal(ctx context.Context, w *Window, s *scene) {
	healing, cancel := r.within(context.WithoutCancel(ctx))
	defer cancel()
	if err := s.heal(healing); err != nil {
		w.fail("heal %s: %v", s.spec, err)
	}
}

func (r *runner) begin(ctx context.Context, w *Window, scenes []*scene) {
	beginning, cancel := r.within(ctx)
	defer cancel()
	for _, s := range scenes {
		f, _ := faultOf(s.spec.Name)
		if err := f.begin(beginning, s); err != nil && ctx.Err() == nil {
			w.fail("begin %s: %v", s.spec, err)
			return
		}
	}
}

func (w *Window) fail(format string, args ...any) {
	if w.Failure != "" {
		w.Failure += "; "
	}
	w.Failure += fmt.Sprintf(format, args...)
}

// wait reports whether a time has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
