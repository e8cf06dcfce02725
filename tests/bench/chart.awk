# chart.awk - how seconds grow, as an SVG picture: results.tsv of run.sh. Each panel has
# one line for each mode of ours (solid) and of the reference (dashed), on two
# logarithmic axes.

function tint(mode) { return mode == "f32" ? "#1f5fa8" : mode == "bf16x2" ? "#2a8a57" : "#c0562b" }

function note(panel, x, mode, who, seconds, key) {
    key = panel FS mode FS who FS x
    if (!(key in best) || seconds + 0 < best[key] + 0) best[key] = seconds
    if (!((panel FS x) in known)) {
        known[panel FS x] = 1
        xs[panel] = xs[panel] " " x
    }
}

BEGIN { FS = "\t" }

$4 != "ours" && $4 != "reference" { next }
$1 == "middle" && $2 ~ /^forward, [0-9]+ tokens$/ { split($2, w, " "); note("tokens", w[2], $3, $4, $5) }
$1 == "tower" && $2 ~ /^forward, [0-9]+ patches$/ { split($2, w, " "); note("patches", w[2], $3, $4, $5) }
$1 == "small" && $2 == "forward, 288 tokens" { note("images", 1, $3, $4, $5); note("vocabulary", 257216, $3, $4, $5) }
$1 == "small" && $2 ~ /^forward, [0-9]+ x / { split($2, w, " "); note("images", w[2], $3, $4, $5) }
$1 ~ /^small-/ && $2 == "forward, 288 tokens" { split($1, w, "-"); note("vocabulary", w[2], $3, $4, $5) }

function sorted(list, x, n, i, j, t) {
    n = split(list, x, " ")
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && x[j] + 0 < x[j - 1] + 0; j--) { t = x[j]; x[j] = x[j - 1]; x[j - 1] = t }
    return n
}

function place(v, low, high, from, to) {
    return high == low ? (from + to) / 2 : from + (to - from) * (log(v) - log(low)) / (log(high) - log(low))
}

function limits(panel, key, p) {
    low = high = 0
    for (key in best) {
        split(key, p, FS)
        if (p[1] != panel) continue
        if (!low || best[key] < low) low = best[key]
        if (best[key] > high) high = best[key]
    }
}

function line(panel, mode, who, x, n, left, top, i, key, points) {
    for (i = 1; i <= n; i++) {
        key = panel FS mode FS who FS x[i]
        if (!(key in best)) continue
        points = points sprintf("%.1f,%.1f ", place(x[i], x[1], x[n], left, left + 250),
                                place(best[key], low, high, top + 130, top))
    }
    if (points == "") return
    printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s/>\n", points,
        tint(mode), who == "ours" ? "" : " stroke-dasharray=\"5 4\""
}

function draw(panel, left, top, x, n, i, m) {
    n = sorted(xs[panel], x)
    if (n < 2) return
    limits(panel)
    printf "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, top - 14, panel
    printf "<path d=\"M%d %dv130h250\" fill=\"none\" stroke=\"#888\"/>\n", left, top
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.2g s</text>\n", left - 6, top + 8, high
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.2g s</text>\n", left - 6, top + 132, low
    for (i = 1; i <= n; i++)
        printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            place(x[i], x[1], x[n], left, left + 250), top + 148, x[i]
    for (i = 1; i <= split("f32 bf16x2 bf16", m, " "); i++) {
        line(panel, m[i], "ours", x, n, left, top)
        line(panel, m[i], "reference", x, n, left, top)
    }
}

function legend(i, m) {
    for (i = 1; i <= split("f32 bf16x2 bf16", m, " "); i++)
        printf "<path d=\"M%d 24h26\" stroke=\"%s\" stroke-width=\"3\"/><text x=\"%d\" y=\"28\">%s</text>\n",
            40 + 90 * i, tint(m[i]), 72 + 90 * i, m[i]
    print "<text x=\"420\" y=\"28\">solid: lvlm, dashed: the reference</text>"
}

END {
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 470\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<title>Seconds of a forward pass by tokens, patches, images and vocabulary</title>"
    print "<rect width=\"720\" height=\"470\" fill=\"#fff\"/>"
    legend()
    draw("tokens", 70, 80)
    draw("patches", 420, 80)
    draw("images", 70, 290)
    draw("vocabulary", 420, 290)
    print "</svg>"
}
