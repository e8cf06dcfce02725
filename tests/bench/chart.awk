# chart.awk - how seconds grow, as an SVG picture, from results.tsv of run.sh. With
# sort.awk. A panel has a line for each mode of ours (solid) and of the reference
# (dashed), on two logarithmic axes.

function tint(mode) {
    return mode == "f32" ? "#1f5fa8" : mode == "bf16x2" ? "#2a8a57" : "#c0562b"
}

# A point of the panel's line for this record's mode and program: the least seconds.
function note(panel, x, key) {
    key = panel FS $3 FS $4 FS x
    if (!(key in best) || $5 + 0 < best[key] + 0) best[key] = $5
    if (!((panel FS x) in known)) {
        known[panel FS x] = 1
        xs[panel] = xs[panel] " " x
    }
}

BEGIN { FS = "\t" }

$4 != "ours" && $4 != "reference" { next }

{ split($2, word, " ") }
$1 == "middle" && $2 ~ /^forward, [0-9]+ tokens$/ { note("tokens", word[2]) }
$1 == "tower" && $2 ~ /^forward, [0-9]+ patches$/ { note("patches", word[2]) }
$1 == "small" && $2 == "forward, 288 tokens" {
    note("texts with an image", 1)
    note("vocabulary", 257216)
}
$1 == "small" && $2 ~ /^forward, [0-9]+ x [0-9]+ tokens$/ {
    note("texts with an image", word[2])
}
$1 ~ /^small-/ && $2 == "forward, 288 tokens" {
    split($1, word, "-")
    note("vocabulary", word[2])
}

function place(v, low, high, from, to) {
    if (high == low) return (from + to) / 2
    return from + (to - from) * (log(v) - log(low)) / (log(high) - log(low))
}

# The least and the most seconds of a panel: low, high.
function limits(panel, key, part) {
    low = high = 0
    for (key in best) {
        split(key, part, FS)
        if (part[1] != panel) continue
        if (!low || best[key] + 0 < low) low = best[key] + 0
        if (best[key] + 0 > high) high = best[key] + 0
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
    print "<polyline fill=\"none\" stroke-width=\"2\""
    printf " points=\"%s\" stroke=\"%s\"%s/>\n", points,
        tint(mode), who == "ours" ? "" : " stroke-dasharray=\"5 4\""
}

function text(x, y, anchor, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
        words
}

function draw(panel, left, top, x, n, i) {
    n = sorted(xs[panel], x)
    if (n < 2) return
    limits(panel)
    text(left + 125, top - 12, "middle", panel)
    printf "<path d=\"M%d %dv130h250\" fill=\"none\" stroke=\"#888\"/>\n", left, top
    text(left - 6, top + 8, "end", sprintf("%.2g s", high))
    text(left - 6, top + 132, "end", sprintf("%.2g s", low))
    for (i = 1; i <= n; i++)
        text(place(x[i], x[1], x[n], left, left + 250), top + 148, "middle", x[i])
    for (i = 1; i <= n_modes; i++) {
        line(panel, mode[i], "ours", x, n, left, top)
        line(panel, mode[i], "reference", x, n, left, top)
    }
}

END {
    n_modes = split("f32 bf16x2 bf16", mode, " ")
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 470\""
    print " font-family=\"sans-serif\" font-size=\"12\">"
    print "<title>Seconds of a forward pass</title>"
    print "<rect width=\"720\" height=\"470\" fill=\"#fff\"/>"
    for (i = 1; i <= n_modes; i++) {
        printf "<path d=\"M%d 24h26\" stroke=\"%s\" stroke-width=\"3\"/>\n",
            90 * i - 20, tint(mode[i])
        text(90 * i + 12, 28, "start", mode[i])
    }
    text(400, 28, "start", "solid: lvlm, dashed: the reference")
    draw("tokens", 70, 80)
    draw("patches", 420, 80)
    draw("texts with an image", 70, 290)
    draw("vocabulary", 420, 290)
    print "</svg>"
}
