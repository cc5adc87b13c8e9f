#!/bin/bash
# Draws how near solvers come to the exact solution in how many evaluations of the network, as SVG.
#
#   tests/bench/solvers.sh BUILD MODEL OUT.svg      some minutes; records beside it, in OUT.jsonl, if not there yet
set -e
records=${3%.svg}.jsonl
[ -e "$records" ] || "$1/bin/uvic-bench" solvers --file "$2" > "$records"
sed 's/[{}"]//g; s/, *"/,/g' "$records" | awk -F, -v width=720 -v height=430 '
  function x(n) { return left + (log(n) - log(5)) / (log(100) - log(5)) * (right - left) }
  function y(d) { return bottom - (log(d) - log(low)) / (log(high) - log(low)) * (bottom - top) }
  function text(at_x, at_y, anchor, what) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", at_x, at_y, anchor, what
  }
  function value(field) { sub(/^[^:]*:/, "", field); return field }
  { name = value($2); n = value($3); d = value($4) + 0
    if (!(name in seen)) { seen[name] = 1; names[++count] = name }
    path[name] = path[name] " " n ":" d
    least = (NR == 1 || d < least) ? d : least; most = (d > most) ? d : most }
  END {
    left = 60; right = width - 170; top = 20; bottom = height - 45
    for (low = 1; low > least; low /= 10) {}
    for (high = low; high < most; high *= 10) {}
    split("#d1495b #8d96a3 #edae49 #66a182 #b5838d #00798c #30638e #6a4c93 #f08a4b #222222", color, " ")
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height
    print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    for (d = low; d < high * 1.01; d *= 10) {
      printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", left, right, y(d), y(d)
      text(left - 6, y(d) + 4, "end", d)
    }
    split("5 8 10 15 20 30 50 100", ticks, " ")
    for (i = 1; i <= 8; ++i) {
      printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#eee\"/>\n", x(ticks[i]), x(ticks[i]), top, bottom
      text(x(ticks[i]), bottom + 18, "middle", ticks[i])
    }
    text((left + right) / 2, height - 8, "middle", "network evaluations")
    printf "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">distance to the solution (rms)</text>\n", (top + bottom) / 2
    for (k = 1; k <= count; ++k) {
      m = split(path[names[k]], points, " ")
      line = ""
      for (i = 1; i <= m; ++i) { split(points[i], p, ":"); line = line sprintf("%.1f,%.1f ", x(p[1]), y(p[2])) }
      printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", line, color[k]
      printf "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"4\" fill=\"%s\"/>\n", right + 14, top + 20 * k - 8, color[k]
      text(right + 34, top + 20 * k - 2, "start", names[k])
    }
    print "</svg>"
  }' > "$3"
