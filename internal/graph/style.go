package graph

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// colours are one meaning in both themes.
type colours struct{ light, dark string }

// Colour means status and nothing else; each comes with a sign and a word.
var statusColours = [...]colours{
	0:               {"#59636e", "#9198a1"},
	event.Pending:   {"#59636e", "#9198a1"},
	event.Running:   {"#0969da", "#4493f8"},
	event.Waiting:   {"#8250df", "#ab7df8"},
	event.Suspended: {"#9a6700", "#d29922"},
	event.Cancelled: {"#59636e", "#9198a1"},
	event.Faulted:   {"#cf222e", "#f85149"},
	event.Completed: {"#1a7f37", "#3fb950"},
}

var statusSigns = [...]string{0: "", event.Pending: "○", event.Running: "●", event.Waiting: "◷", event.Suspended: "‖", event.Cancelled: "⊘", event.Faulted: "✗", event.Completed: "✓"}

// Paths of the status signs, 12 by 12.
var statusPaths = [...]string{
	0:               "",
	event.Pending:   "M6 2.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7",
	event.Running:   "M6 3.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 1 0 0-5.6z",
	event.Waiting:   "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9M6 3.8v2.4l1.6 1.2",
	event.Suspended: "M4 2.5v7M8 2.5v7",
	event.Cancelled: "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9M3 9l6-6",
	event.Faulted:   "M2.5 2.5l7 7M9.5 2.5l-7 7",
	event.Completed: "M1.8 6.6l2.8 2.8L10.4 3",
}

const skippedPath = "M2 3l3.5 3L2 9M6.5 3L10 6 6.5 9"

// Paths of the kinds' icons, 16 by 16.
var kindPaths = map[string]string{
	"call":   "M2.5 5h11M10.5 2l3 3-3 3M13.5 11h-11M5.5 8l-3 3 3 3",
	"run":    "M2 3h12v10H2zM4.5 6l2 2-2 2M8.5 10.5h3",
	"set":    "M3 6h10M3 10h10",
	"switch": "M8 2v4M8 6L3.5 10.5v3M8 6l4.5 4.5v3",
	"wait":   "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 5v3.2l2.2 1.6",
	"listen": "M8 2v8M5 7l3 3 3-3M2 10v4h12v-4",
	"emit":   "M8 10V2M5 5l3-3 3 3M2 10v4h12v-4",
	"raise":  "M9 1.5L3.5 9H8l-1 5.5L12.5 7H8z",
	"do":     "M3 4h10M3 8h10M3 12h6",
	"for":    "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
	"fork":   "M2 3.5h12M2 12.5h12M5 3.5v9M11 3.5v9",
	"try":    "M8 1.5l5 2v4c0 3.5-2.2 5.8-5 7-2.8-1.2-5-3.5-5-7v-4z",
	"map":    "M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z",
}

// slant is how much the shape of a kind takes of the width at either side.
func slant(kind string) int {
	switch kindWord(kind) {
	case "set", "listen", "emit":
		return 10
	case "switch":
		return 12
	case "wait":
		return 8
	case "run":
		return 4
	}
	return 0
}

// outline is the path of a task's shape: one for each kind, so that kinds can be
// told apart from afar.
func outline(kind string, b box) string {
	x, y, r, d, s, mid := b.x, b.y, b.x+b.w, b.y+b.h, slant(kind), b.y+b.h/2
	switch kindWord(kind) {
	case "set":
		return fmt.Sprintf("M%d %dH%dL%d %dH%dz", x+s, y, r, r-s, d, x)
	case "switch":
		return fmt.Sprintf("M%d %dH%dL%d %dL%d %dH%dL%d %dz", x+s, y, r-s, r, mid, r-s, d, x+s, x, mid)
	case "listen":
		return fmt.Sprintf("M%d %dH%dV%dH%dL%d %dz", x, y, r, d, x, x+s, mid)
	case "emit":
		return fmt.Sprintf("M%d %dH%dL%d %dL%d %dH%dz", x, y, r-s, r, mid, r-s, d, x)
	case "raise":
		const c = 8
		return fmt.Sprintf("M%d %dH%dL%d %dV%dL%d %dH%dL%d %dV%dz", x+c, y, r-c, r, y+c, d-c, r-c, d, x+c, x, d-c, y+c)
	case "wait":
		return roundedRect(b, b.h/2)
	case "run":
		return roundedRect(b, 4) + fmt.Sprintf("M%d %dV%dM%d %dV%d", x+6, y, d, r-6, y, d)
	}
	return roundedRect(b, 6)
}

func roundedRect(b box, r int) string {
	w, h := b.w-2*r, b.h-2*r
	return fmt.Sprintf("M%d %dh%da%d %d 0 0 1 %d %dv%da%d %d 0 0 1 %d %dh%da%d %d 0 0 1 %d %dv%da%d %d 0 0 1 %d %dz",
		b.x+r, b.y, w, r, r, r, r, h, r, r, -r, r, -w, r, r, -r, -r, -h, r, r, r, -r)
}

// rule is a line of the style sheet: what does not change, then the colours.
type rule struct{ selector, fixed, coloured string }

const sans, mono = `system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif`, `ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace`

var rules = []rule{
	{"", "font-family:" + sans, ""},
	{".page", "", "fill:#fff|#0d1117"},
	{".f0", "stroke-width:1", "fill:#f6f8fa|#151b23;stroke:#d1d9e0|#3d444d"},
	{".f1", "stroke-width:1", "fill:#fff|#0d1117;stroke:#d1d9e0|#3d444d"},
	{".catch", "stroke-dasharray:5 3", "stroke:#818b98|#656c76"},
	{".n", "stroke-width:1.25;stroke-linejoin:round", "fill:#fff|#0d1117;stroke:#818b98|#656c76"},
	{".k", "fill:none;stroke-width:1.3;stroke-linecap:round;stroke-linejoin:round", "stroke:#59636e|#9198a1"},
	{".t", "font-size:13px;font-weight:600", "fill:#1f2328|#f0f6fc"},
	{".p", "font-size:12px;font-weight:600", "fill:#59636e|#9198a1"},
	{".d", "font-family:" + mono + ";font-size:11px", "fill:#59636e|#9198a1"},
	{".l", "font-size:11px;text-anchor:middle", "fill:#3d444d|#c9d1d9"},
	{".c", "stroke-width:1", "fill:#fff|#0d1117;stroke:#d1d9e0|#3d444d"},
	{".m", "", "fill:#59636e|#9198a1"},
	{".o", "fill:none;stroke-width:1.25", "stroke:#59636e|#9198a1"},
	{".e", "fill:none;stroke-width:1.25;stroke-linejoin:round", "stroke:#818b98|#656c76"},
	{".a", "", "fill:#818b98|#656c76"},
	{".error", "stroke-dasharray:5 3", ""},
	{".off", "", "stroke:#d1d9e0|#3d444d"},
	{".aoff", "", "fill:#d1d9e0|#3d444d"},
	{".on", "stroke-width:2.25", "stroke:#1f2328|#f0f6fc"},
	{".aon", "", "fill:#1f2328|#f0f6fc"},
	{".faint", "opacity:.5", ""},
	{".w", "font-size:11px;font-weight:600", ""},
	{".v", "font-size:11px;font-variant-numeric:tabular-nums;font-weight:400", "fill:#59636e|#9198a1"},
	{".i", "fill:none;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round", ""},
	{".struck", "text-decoration:line-through", ""},
}

// styleSheet is the CSS of a drawing, light with the dark theme beside it. All
// of it is bound to the class of the drawing, so that it may stand in a page.
func styleSheet(overlay bool) string {
	var light, dark strings.Builder
	put := func(selector, fixed, coloured string) {
		var l, d []string
		for c := range strings.SplitSeq(coloured, ";") {
			key, value, ok := strings.Cut(c, ":")
			if !ok {
				continue
			}
			bright, night, _ := strings.Cut(value, "|")
			l, d = append(l, key+":"+bright), append(d, key+":"+night)
		}
		fmt.Fprintf(&light, ".downbeat-graph%s{%s}\n", strings.TrimRight(" "+selector, " "), join(fixed, ";", strings.Join(l, ";")))
		if len(d) > 0 {
			fmt.Fprintf(&dark, ".downbeat-graph %s{%s}\n", selector, strings.Join(d, ";"))
		}
	}
	for _, r := range rules {
		put(r.selector, r.fixed, r.coloured)
	}
	if overlay {
		for s := event.Pending; s <= event.Completed; s++ {
			c := statusColours[s].light + "|" + statusColours[s].dark
			put(".n."+s.String(), "stroke-width:1.75", "stroke:"+c)
			put(".f."+s.String(), "stroke-width:1.75", "stroke:"+c)
			put(".i."+s.String(), "", "stroke:"+c)
			put(".w."+s.String(), "", "fill:"+c)
		}
		put(".i.running", "", "fill:"+statusColours[event.Running].light+"|"+statusColours[event.Running].dark)
		light.WriteString("@keyframes downbeat-pulse{50%{opacity:.35}}\n@media (prefers-reduced-motion:no-preference){.downbeat-graph .i.running{animation:downbeat-pulse 1.6s ease-in-out infinite}}\n")
	}
	return light.String() + "@media (prefers-color-scheme:dark){\n" + dark.String() + "}\n"
}
