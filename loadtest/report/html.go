package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"count":    grouped,
	"rate":     func(r float64) string { return grouped(int64(r + 0.5)) },
	"duration": func(d time.Duration) string { return load.Round(d).String() },
	"moment":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
}).Parse(pageSource))

// WriteHTML writes the report as a page that needs nothing but a browser.
func (r *Report) WriteHTML(w io.Writer) error {
	series, err := json.Marshal(r.series())
	if err != nil {
		return err
	}
	var b bytes.Buffer
	err = page.Execute(&b, struct {
		*Report
		Rows   []row
		Style  template.CSS
		Script template.JS
		Series template.JS
	}{r, r.rows(), template.CSS(pageStyle), template.JS(pageScript), template.JS(series)})
	if err != nil {
		return err
	}
	_, err = b.WriteTo(w)
	return err
}

// row is the figures of one operation.
type row struct {
	Name string
	Rate float64
	load.Counts
	load.Summary
}

func (r *Report) rows() []row {
	var rows []row
	add := func(name string, s *load.Statistics) {
		rows = append(rows, row{name, r.Load.Rate(s.OK), s.Counts, s.Latencies.Summary()})
	}
	for _, o := range load.Operations {
		if s := r.Load.Operations[o]; s != nil {
			add(string(o), s)
		}
	}
	if len(rows) != 1 {
		add("all", &r.Load.All)
	}
	return rows
}

// series is what the plots are drawn from: times in seconds since the start of
// the load, latencies in milliseconds.
type series struct {
	Time     []float64 `json:"time"`
	Measured []bool    `json:"measured"`
	Rate     []float64 `json:"rate"`
	Failed   []float64 `json:"failed"`
	P50      []float64 `json:"p50"`
	P99      []float64 `json:"p99"`
	P999     []float64 `json:"p999"`
	Max      []float64 `json:"max"`
	Bars     []bar     `json:"bars"`
	Asked    float64   `json:"asked"`
	Faults   []span    `json:"faults"`
	Outages  []span    `json:"outages"`
	Elapsed  float64   `json:"elapsed"`
}

type bar struct {
	UpTo  float64 `json:"upTo"`
	Count int64   `json:"count"`
}

type span struct {
	Name string  `json:"name"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// shortest is how long an interval lasts at least whose rate is drawn; a shorter
// one, at the end, says little.
const shortest = 250 * time.Millisecond

func (r *Report) series() series {
	l := r.Load
	s := series{Asked: l.Generator.Asked, Elapsed: l.Elapsed.Seconds()}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for _, i := range l.Intervals {
		took := i.To - i.From
		if took < shortest {
			continue
		}
		s.Time = append(s.Time, i.To.Seconds())
		s.Measured = append(s.Measured, i.Measured)
		s.Rate = append(s.Rate, i.Rate())
		s.Failed = append(s.Failed, float64(i.Failed+i.Unknown)/took.Seconds())
		s.P50 = append(s.P50, ms(i.Latency.P50))
		s.P99 = append(s.P99, ms(i.Latency.P99))
		s.P999 = append(s.P999, ms(i.Latency.P999))
		s.Max = append(s.Max, ms(i.Latency.Max))
	}
	for _, b := range l.All.Latencies.Bars() {
		s.Bars = append(s.Bars, bar{ms(b.UpTo), b.Count})
	}
	for _, f := range r.Faults {
		s.Faults = append(s.Faults, span{f.Name, f.From.Sub(l.Start).Seconds(), f.To.Sub(l.Start).Seconds()})
	}
	for _, o := range l.Outages {
		s.Outages = append(s.Outages, span{"writes to part " + strconv.Itoa(o.Shard) + " of 16 do not succeed", o.From.Seconds(), o.To.Seconds()})
	}
	return s
}

// grouped writes a number with thin spaces between its thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteRune('\u202f')
		}
		b.WriteRune(d)
	}
	return b.String()
}
