(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("series").textContent);
  var namespace = "http://www.w3.org/2000/svg";
  var width, left = 62, right = 14, top = 22, bottom = 30;

  function make(parent, name, attributes, text) {
    var e = document.createElementNS(namespace, name);
    for (var key in attributes) e.setAttribute(key, attributes[key]);
    if (text !== undefined) e.textContent = text;
    parent.appendChild(e);
    return e;
  }

  // number writes three digits, and k or M where there are more.
  function number(v) {
    if (v >= 1e6) return +(v / 1e6).toPrecision(3) + "M";
    if (v >= 1e4) return +(v / 1e3).toPrecision(3) + "k";
    return String(+v.toPrecision(3));
  }
  function milliseconds(v) {
    if (v >= 1000) return number(v / 1000) + " s";
    if (v < 1 && v > 0) return number(v * 1000) + " µs";
    return number(v) + " ms";
  }
  function seconds(v) { return v >= 120 && v % 60 === 0 ? v / 60 + " min" : +v.toFixed(2) + " s"; }

  // ticks returns round numbers from 0 to most.
  function ticks(most, about) {
    var raw = most / about, power = Math.pow(10, Math.floor(Math.log10(raw)));
    var step = [1, 2, 5, 10].map(function (m) { return m * power; }).find(function (s) { return s >= raw; });
    var all = [];
    for (var v = 0; v <= most * 1.0001; v += step) all.push(v);
    return all;
  }

  function frame(id, height, label) {
    var figure = document.getElementById(id);
    figure.textContent = "";
    width = Math.max(280, figure.clientWidth);
    var legend = document.createElement("div");
    legend.className = "legend";
    figure.appendChild(legend);
    var svg = make(figure, "svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": label });
    return { figure: figure, legend: legend, svg: svg, height: height };
  }

  function entry(f, name, color, area) {
    var item = document.createElement("span"), mark = document.createElement("i");
    mark.style.color = "var(--" + color + ")";
    if (area) mark.className = "area";
    item.appendChild(mark);
    item.appendChild(document.createTextNode(name));
    f.legend.appendChild(item);
  }

  function nothing(id) {
    var p = document.createElement("p");
    p.className = "empty";
    p.textContent = "There is nothing to draw.";
    document.getElementById(id).replaceChildren(p);
  }

  // overTime draws lines over the time of the load, with what was done to it.
  function overTime(id, height, lines, axis) {
    if (!data.time) return nothing(id);
    var f = frame(id, height, axis.label), end = Math.max(data.elapsed, 0.001);
    var x = function (t) { return left + (width - left - right) * Math.min(1, Math.max(0, t / end)); };
    var floor = height - bottom;
    var y = function (v) { return floor - (floor - top) * Math.min(1, Math.max(0, axis.place(v))); };

    var warm = data.measured.lastIndexOf(false);
    if (warm >= 0) {
      make(f.svg, "rect", { "class": "warm", x: left, y: top, width: x(data.time[warm]) - left, height: floor - top });
      entry(f, "not in the figures", "grey", true);
    }
    (data.faults || []).forEach(function (s) {
      var from = x(s.from), to = Math.max(from + 2, x(s.to));
      make(f.svg, "rect", { "class": "fault", x: from, y: top, width: to - from, height: floor - top });
      make(f.svg, "line", { "class": "fault-edge", x1: from, x2: from, y1: top - 6, y2: floor });
    });
    axis.ticks.forEach(function (v) {
      make(f.svg, "line", { "class": "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) });
      make(f.svg, "text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, axis.write(v));
    });
    ticks(end, width / 110).forEach(function (t) {
      make(f.svg, "text", { x: x(t), y: height - 8, "text-anchor": t === 0 ? "start" : "middle" }, seconds(t));
    });
    make(f.svg, "line", { "class": "axis", x1: left, x2: width - right, y1: floor, y2: floor });
    (data.outages || []).forEach(function (s) {
      make(f.svg, "line", { "class": "outage", x1: x(s.from), x2: Math.max(x(s.from) + 2, x(s.to)), y1: floor + 3, y2: floor + 3 });
    });

    var edge = -Infinity;
    (data.faults || []).forEach(function (s) {
      var name = s.name.length > 28 ? s.name.slice(0, 27) + "…" : s.name, at = x(s.from), room = name.length * 7;
      var turned = at + room > width - right, from = turned ? at - room : at;
      if (from < edge) return; // it would lie on the name of the one before
      make(f.svg, "text", { "class": "fault-name", x: turned ? at - 4 : at + 4, y: top - 8, "text-anchor": turned ? "end" : "start" }, name);
      edge = from + room;
    });

    lines.forEach(function (l) {
      var path = "", on = false;
      l.values.forEach(function (v, i) {
        var drawn = !(l.skipZero && v === 0);
        if (drawn) path += (on ? "L" : "M") + x(middle(i)).toFixed(1) + " " + y(v).toFixed(1);
        on = drawn;
      });
      if (l.area && l.values.length) {
        make(f.svg, "path", { d: path + "L" + x(middle(l.values.length - 1)) + " " + floor + "L" + x(middle(0)) + " " + floor + "Z", fill: "var(--" + l.color + ")", opacity: .12 });
      }
      make(f.svg, "path", { d: path, fill: "none", stroke: "var(--" + l.color + ")", "stroke-width": 2, "stroke-linejoin": "round", "stroke-linecap": "round" });
      if (l.values.length === 1) make(f.svg, "circle", { cx: x(middle(0)), cy: y(l.values[0]), r: 3, fill: "var(--" + l.color + ")" });
      entry(f, l.name, l.color);
    });
    if ((data.faults || []).length) entry(f, "fault", "orange", true);
    if ((data.outages || []).length) entry(f, "writes to part of the keys do not succeed", "outage");
    follow(f, x, floor, lines, axis);
  }

  function middle(i) { return ((i ? data.time[i - 1] : 0) + data.time[i]) / 2; }

  // follow shows the figures at the time under the pointer.
  function follow(f, x, floor, lines, axis) {
    var cross = make(f.svg, "line", { "class": "cross", y1: top, y2: floor, visibility: "hidden" });
    var tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    f.figure.appendChild(tip);
    f.svg.addEventListener("pointermove", function (event) {
      var box = f.svg.getBoundingClientRect(), at = (event.clientX - box.left) * width / box.width, best = 0;
      data.time.forEach(function (t, i) {
        if (Math.abs(x(middle(i)) - at) < Math.abs(x(middle(best)) - at)) best = i;
      });
      var place = x(middle(best));
      cross.setAttribute("x1", place);
      cross.setAttribute("x2", place);
      cross.setAttribute("visibility", "visible");
      var from = best ? data.time[best - 1] : 0, text = [seconds(+from.toFixed(1)) + " to " + seconds(+data.time[best].toFixed(1))];
      lines.forEach(function (l) { text.push(l.name + ": " + axis.write(l.values[best])); });
      (data.faults || []).concat(data.outages || []).forEach(function (s) {
        if (s.from < data.time[best] && s.to > from && text.length < 12) text.push(s.name);
      });
      tip.replaceChildren.apply(tip, text.map(function (line) {
        var row = document.createElement("div");
        row.textContent = line;
        return row;
      }));
      tip.hidden = false;
      tip.style.top = f.legend.offsetHeight + "px";
      var shown = place * box.width / width;
      tip.style.left = Math.max(0, shown + tip.offsetWidth + 16 > box.width ? shown - tip.offsetWidth - 12 : shown + 12) + "px";
    });
    f.svg.addEventListener("pointerleave", function () {
      tip.hidden = true;
      cross.setAttribute("visibility", "hidden");
    });
  }

  function throughput() {
    var lines = [{ name: "succeeded", values: data.rate || [], color: "blue", area: true }];
    if ((data.failed || []).some(function (v) { return v > 0; })) lines.push({ name: "failed or unknown", values: data.failed, color: "outage" });
    if (data.asked) lines.push({ name: "asked for", values: (data.rate || []).map(function () { return data.asked; }), color: "grey" });
    var most = Math.max.apply(null, [1].concat(data.rate || [], data.failed || [], data.asked || 0)) * 1.08;
    overTime("throughput", 250, lines, {
      label: "Operations per second over time", ticks: ticks(most, 5),
      place: function (v) { return v / most; }, write: function (v) { return number(v); },
    });
  }

  // Latencies are drawn on a logarithmic scale, or what is short would not be
  // seen beside what is long.
  function latency() {
    var all = [].concat(data.p50 || [], data.p99 || [], data.max || []).filter(function (v) { return v > 0; });
    if (!all.length) return nothing("latency");
    var low = Math.floor(Math.log10(Math.min.apply(null, all))), high = Math.ceil(Math.log10(Math.max.apply(null, all) * 1.01));
    if (high === low) high++;
    var marks = [];
    for (var p = low; p <= high; p++) marks.push(Math.pow(10, p));
    overTime("latency", 280, [
      { name: "max", values: data.max, color: "grey", skipZero: true },
      { name: "p99.9", values: data.p999, color: "purple", skipZero: true },
      { name: "p99", values: data.p99, color: "teal", skipZero: true },
      { name: "p50", values: data.p50, color: "blue", skipZero: true },
    ], {
      label: "Percentiles of the latency over time, on a logarithmic scale", ticks: marks,
      place: function (v) { return v > 0 ? (Math.log10(v) - low) / (high - low) : 0; }, write: milliseconds,
    });
  }

  function histogram() {
    var bars = data.bars || [];
    if (!bars.length) return nothing("histogram");
    var height = 230, f = frame("histogram", height, "How many operations had which latency, on a logarithmic scale");
    var floor = height - bottom, total = 0, most = 0;
    bars.forEach(function (b) { total += b.count; most = Math.max(most, b.count); });
    var low = Math.log10(bars[0].upTo) - 0.1, high = Math.log10(bars[bars.length - 1].upTo) + 0.05;
    if (high - low < 1) high = low + 1;
    var x = function (v) { return left + (width - left - right) * (Math.log10(v) - low) / (high - low); };
    var share = 100 * most / total;
    ticks(share, 4).forEach(function (v) {
      var y = floor - (floor - top) * v / share;
      make(f.svg, "line", { "class": "grid", x1: left, x2: width - right, y1: y, y2: y });
      make(f.svg, "text", { x: left - 8, y: y + 4, "text-anchor": "end" }, number(v) + " %");
    });
    var decade = (width - left - right) / (high - low);
    for (var p = Math.floor(low); p <= high; p++) {
      (decade > 180 ? [1, 2, 5] : decade > 100 ? [1, 3] : [1]).forEach(function (m) {
        var v = m * Math.pow(10, p);
        if (Math.log10(v) >= low && Math.log10(v) <= high) make(f.svg, "text", { x: x(v), y: height - 8, "text-anchor": "middle" }, milliseconds(v));
      });
    }
    var before = 0, tall = floor - top;
    bars.forEach(function (b) {
      before += b.count;
      if (!b.count) return;
      var from = x(b.upTo / Math.pow(10, 1 / 20)), h = Math.max(1, tall * b.count / most);
      var bar = make(f.svg, "rect", { x: from + .5, width: Math.max(1, x(b.upTo) - from - 1), y: floor - h, height: h, rx: 1.5, fill: "var(--blue)" });
      make(bar, "title", {}, "up to " + milliseconds(b.upTo) + ": " + b.count + " operations; " + (100 * before / total).toFixed(3) + " % take no longer");
    });
    make(f.svg, "line", { "class": "axis", x1: left, x2: width - right, y1: floor, y2: floor });
    entry(f, "share of the operations that succeeded", "blue", true);
  }

  function draw() { throughput(); latency(); histogram(); }
  draw();
  var waiting;
  addEventListener("resize", function () { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
})();
