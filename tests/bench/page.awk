# page.awk - the benchmark's page: machine.tsv, then results.tsv of run.sh; -v chart=FILE.

function least(list, x, n, i, at) {
    n = split(list, x, " ")
    at = x[1]
    for (i = 2; i <= n; i++) if (x[i] + 0 < at + 0) at = x[i]
    return at
}

function middle(list, x, n, i, j, t) {
    n = split(list, x, " ")
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && x[j] + 0 < x[j - 1] + 0; j--) { t = x[j]; x[j] = x[j - 1]; x[j - 1] = t }
    return x[int((n + 1) / 2)]
}

# "1.234 (1.3)": the least and the median.
function span(key) {
    return key in times ? sprintf("%.3g (%.3g)", least(times[key]), middle(times[key])) : ""
}

function memory(key) { return key in most ? sprintf("%d", most[key]) : "" }

# Ours in this mode against the reference in the type that it is compared with.
function ratio(row, mode, their, ours, theirs) {
    ours = row FS mode FS "ours"
    theirs = row FS their FS "reference"
    if (!(ours in times) || !(theirs in times)) return ""
    return sprintf("%.2f", least(times[ours]) / least(times[theirs]))
}

function speed(row, mode, key) {
    key = row FS mode FS "ours"
    if (!((row FS "-" FS "flop") in times) || !(key in times)) return ""
    return sprintf("%.0f", times[row FS "-" FS "flop"] / least(times[key]) / 1e9)
}

BEGIN { FS = "\t" }

FNR == NR { machine[++n_machine] = "| " $1 " | " $2 " |"; next }

{
    row = $1 FS $2
    if (!(row in seen)) { seen[row] = 1; rows[++n_rows] = row }
    key = row FS $3 FS $4
    times[key] = key in times && $4 != "flop" ? times[key] " " $5 : $5
    if ($6 > most[key] + 0) most[key] = $6
    modes[row] = index(modes[row] " ", " " $3 " ") || $3 == "-" && $4 == "flop" ? modes[row] : modes[row] " " $3
}

function table(i, j, n, m, mode, their, row, part) {
    print "| model | work | mode | ours, s | reference, s | ratio | GFLOP/s | ours, MB | reference, MB |"
    print "|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= n_rows; i++) {
        row = rows[i]
        split(row, part, FS)
        n = split(modes[row], m, " ")
        for (j = 1; j <= n; j++) {
            mode = m[j]
            their = mode == "bf16x2" ? "f32" : part[2] == "decode" ? "bf16" : mode
            printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", part[1], part[2], mode,
                span(row FS mode FS "ours"), span(row FS their FS "reference"),
                ratio(row, mode, their), speed(row, mode),
                memory(row FS mode FS "ours"), memory(row FS their FS "reference")
        }
    }
}

function accuracy(i, j, n, m, row, part, ours, theirs) {
    print "| model | work | mode | ours | reference |"
    print "|---|---|---|---|---|"
    for (i = 1; i <= n_rows; i++) {
        row = rows[i]
        split(row, part, FS)
        n = split(modes[row], m, " ")
        for (j = 1; j <= n; j++) {
            ours = row FS m[j] FS "ours, error"
            theirs = row FS m[j] FS "reference, error"
            if (ours in times)
                printf "| %s | %s | %s | %.1e | %s |\n", part[1], part[2], m[j], times[ours],
                    theirs in times ? sprintf("%.1e", times[theirs]) : ""
        }
    }
}

function losses(i, j, n, m, row, part, ours, theirs) {
    print "| model | step | mode | ours | reference |"
    print "|---|---|---|---|---|"
    for (i = 1; i <= n_rows; i++) {
        row = rows[i]
        split(row, part, FS)
        n = split(modes[row], m, " ")
        for (j = 1; j <= n; j++) {
            ours = row FS m[j] FS "ours, loss"
            theirs = row FS m[j] FS "reference, loss"
            if (ours in times)
                printf "| %s | %s | %s | %.6f | %s |\n", part[1], part[2], m[j],
                    least(times[ours]), theirs in times ? sprintf("%.6f", least(times[theirs])) : ""
        }
    }
}

END {
    print "# The benchmark, on one machine\n"
    print "Written by `sh tests/bench/run.sh`. Times are the least of all runs, in parentheses"
    print "their median: the difference is the machine's noise. bf16x2 is compared with the"
    print "reference in f32, whose accuracy it has for training. \"started\" is a whole run of"
    print "the program, from the mapped file to written logits; for the reference, loading and"
    print "one pass. GFLOP/s counts the linear maps. Memory is the most resident, mapped"
    print "weights included.\n"
    print "| | |"
    print "|---|---|"
    for (i = 1; i <= n_machine; i++) print machine[i]
    print ""
    table()
    print "\n![how time grows](" chart ")\n"
    print "## How accurate\n"
    print "The relative L2 distance of all logits from those in double, of these random weights:\n"
    accuracy()
    print "\nThe loss of the first step, which shows that both computed the same:\n"
    losses()
}
