# sort.awk - what page.awk and chart.awk share.

# Splits `list` at spaces into x[1..], ordered as numbers. Returns how many there are.
function sorted(list, x, n, i, j, t) {
    n = split(list, x, " ")
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && x[j] + 0 < x[j - 1] + 0; j--) {
            t = x[j]
            x[j] = x[j - 1]
            x[j - 1] = t
        }
    return n
}
