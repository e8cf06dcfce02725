# page.awk - the measured part of the benchmark's page, from machine.tsv and results.tsv
# of run.sh. With sort.awk; -v chart=FILE names the picture.

function least(list, x) { sorted(list, x); return x[1] }

function median(list, x, n) { n = sorted(list, x); return x[int((n + 1) / 2)] }

# "1.23 (1.3)": the least and the median.
function span(key) {
    if (!(key in figures)) return ""
    return sprintf("%.3g (%.3g)", least(figures[key]), median(figures[key]))
}

function memory(key) { return most[key] > 0 ? sprintf("%d", most[key]) : "" }

function number(format, key) {
    return key in figures ? sprintf(format, least(figures[key])) : ""
}

function ratio(ours, theirs) {
    if (!(ours in figures) || !(theirs in figures)) return ""
    return sprintf("%.2f", least(figures[ours]) / least(figures[theirs]))
}

# GFLOP/s of linear maps, or GB/s.
function speed(row, ours, amount) {
    amount = row FS "-" FS "amount"
    if (!(amount in figures) || !(ours in figures)) return ""
    return sprintf("%.3g", figures[amount] / least(figures[ours]) / 1e9)
}

# The type in which the reference does what is compared with ours in `mode`.
function rival(work, mode) {
    return mode == "bf16x2" ? "f32" : work == "decode" ? "bf16" : mode
}

function times(row, model, work, mode, ours, theirs) {
    ours = row FS mode FS "ours"
    if (!(ours in figures)) return
    theirs = row FS rival(work, mode) FS "reference"
    printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", model, work, mode,
        span(ours), span(theirs), ratio(ours, theirs), speed(row, ours), memory(ours),
        memory(theirs)
}

function pair(row, model, work, mode, what, format, ours, theirs) {
    ours = row FS mode FS "ours, " what
    theirs = row FS mode FS "reference, " what
    if (!(ours in figures)) return
    printf "| %s | %s | %s | %s | %s |\n", model, work, mode, number(format, ours),
        number(format, theirs)
}

# One line for each work and mode.
function table(what, i, j, n, mode, part) {
    for (i = 1; i <= n_rows; i++) {
        split(rows[i], part, FS)
        n = split(modes[rows[i]], mode, " ")
        for (j = 1; j <= n; j++)
            if (what == "times")
                times(rows[i], part[1], part[2], mode[j])
            else
                pair(rows[i], part[1], part[2], mode[j], what,
                     what == "loss" ? "%.6f" : "%.1e")
    }
}

function pairs(what) {
    print "| model | work | mode | ours | reference |"
    print "|---|---|---|---|---|"
    table(what)
}

BEGIN { FS = "\t" }

NR == FNR { machine[++n_machine] = "| " $1 " | " $2 " |"; next }

{
    row = $1 FS $2
    key = row FS $3 FS $4
    if (!(row in modes)) {
        modes[row] = " "
        rows[++n_rows] = row
    }
    if ($4 != "amount" && !index(modes[row], " " $3 " ")) modes[row] = modes[row] $3 " "
    figures[key] = figures[key] " " $5
    if ($6 > most[key] + 0) most[key] = $6
}

END {
    print "\n## Measured, on one machine\n"
    print "Written by `sh tests/bench/run.sh`. Times are the least of all runs, with"
    print "their median in parentheses: the difference is the machine's noise."
    print "bf16x2 is compared with the reference in f32, whose accuracy it has for"
    print "training."
    print "\"Started\" is a whole run of the program, from the mapped file to written"
    print "logits; for the reference, loading and one pass. \"G/s\" is GFLOP/s of"
    print "linear maps; for decode, cp, hf2native and checksum GB/s of weights that are"
    print "read. Memory is the most that is resident, mapped weights included. Native"
    print "files are in memory, where the first program that read them from disk left"
    print "them.\n"
    print "| | |\n|---|---|"
    for (i = 1; i <= n_machine; i++) print machine[i]
    print "\n| model | work | mode | ours, s | reference, s | ratio | G/s" \
          " | ours, MB | reference, MB |\n|---|---|---|---|---|---|---|---|---|"
    table("times")
    print "\n![how time grows](" chart ")\n\n### How accurate\n"
    print "The relative L2 distance of all logits from those in double, of these random"
    print "weights:\n"
    pairs("error")
    print "\nThe loss of the first step, which shows that both computed the same:\n"
    pairs("loss")
}
