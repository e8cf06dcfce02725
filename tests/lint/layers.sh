#!/bin/sh
# layers.sh - a folder includes only what its layer permits.
. "$(dirname "$0")/common.sh"

# Files (a regular expression; the first that matches is used) and what they may
# include. tests/ mirrors the tree; tests that join layers may include all of them. On
# top of it, a header of a program is for that program, and those in formats/cli/ for
# programs.
rules='
^formats/base/      formats/base/
^formats/container/ formats/(base|container)/
^formats/family/    formats/(base|container|family)/
^formats/native/    formats/(base|container|family|native)/
^formats/checkpoint/ formats/(base|container|family|native|checkpoint)/
^formats/reshape/   formats/(base|container|family|native|checkpoint|reshape)/
^formats/adapter/   formats/(base|container|family|native|checkpoint|adapter)/
^formats/cli/       formats/
^convert/          formats/ convert/
^runtime/kernel/   formats/ runtime/kernel/
^runtime/ops/      formats/ runtime/real\.h runtime/(kernel|ops)/
^runtime/batch/    formats/ runtime/batch/
^runtime/block/    formats/ runtime/(model|real)\.h runtime/(ops|batch|block)/
^runtime/vision/   formats/ runtime/(ops|batch|block|vision)/
^runtime/connector/ formats/ runtime/(ops|batch|block|vision|connector)/
^runtime/text/     formats/ runtime/(ops|batch|block|vision|text)/
^runtime/model/    formats/ runtime/[^/]*$
    runtime/(ops|batch|block|vision|connector|text|model)/
^runtime/[^/]*$    formats/ runtime/[^/]*$ runtime/(kernel|batch|model)/
^runtime/prepare/image/ formats/ runtime/(batch|prepare/image)/
^runtime/prepare/tokenizer/ formats/ runtime/prepare/tokenizer/
^runtime/prepare/  formats/ runtime/(batch|prepare)/
^runtime/generate/ formats/ runtime/[^/]*$ runtime/(batch|model|generate)/
^runtime/tune/data/ formats/ runtime/[^/]*$ runtime/(batch|model|prepare)/
    runtime/tune/([^/]*$|data/)
^runtime/tune/cli/ formats/ runtime/[^/]*$ runtime/(batch|model|prepare|tune)/
^runtime/tune/     formats/ runtime/[^/]*$ runtime/(batch|model)/ runtime/tune/[^/]*$
^runtime/cli/      formats/ runtime/
^verify/api/       formats/ convert/ runtime/ verify/
^verify/cli/       formats/ runtime/([^/]*|batch/.*)$
    verify/([^/]*$|compare/|replay/|cause/cause\.h|report/|cli/) verify/api/lvlm[.]h$
^verify/[^/]*$     formats/ runtime/([^/]*|batch/.*)$ verify/([^/]*$|replay/)
^verify/compare/   formats/ verify/([^/]*$|compare/)
^verify/replay/    formats/ runtime/([^/]*|(batch|generate)/.*|tune/[^/]*)$
    verify/([^/]*$|replay/|cause/cause\.h)
^verify/cause/     formats/ runtime/([^/]*|batch/.*|tune/dropout_rates[.]h)$
    verify/([^/]*$|replay/|cause/)
^verify/           formats/ runtime/([^/]*|batch/.*)$
    verify/([^/]*$|compare/|replay/|cause/cause\.h|report/|cli/)
^fixtures/shapes/  formats/ runtime/prepare/image/ fixtures/shapes/
^tests/formats/    formats/ tests/
^tests/support/    formats/ tests/
^tests/convert/    formats/ convert/ tests/
^tests/runtime/    formats/ runtime/ tests/
^tests/verify/     formats/ runtime/ verify/ tests/
^tests/fixtures/   formats/ runtime/ fixtures/ tests/
^tests/            formats/ convert/ runtime/ verify/ tests/
'
export rules

verdict "$(files '*.c' '*.h' | scan '
BEGIN {
    rules = ENVIRON["rules"]
    gsub(/\n +/, " ", rules)
    n_rules = split(rules, rule, "\n")
}
# Do the rules about programs permit this file to include `header`?
function program_may(header,    folder) {
    if (header !~ /\/cli\// || FILENAME ~ /^tests\//) return 1
    folder = header
    sub(/[^\/]*$/, "", folder)
    if (index(FILENAME, folder) == 1) return 1
    return FILENAME ~ /\/cli\// && folder == "formats/cli/"
}
FNR == 1 {
    allowed = ""
    for (i = 1; i <= n_rules && allowed == ""; i++) {
        n = split(rule[i], word, " ")
        if (n < 2 || FILENAME !~ word[1]) continue
        for (k = 2; k <= n; k++) allowed = allowed (k > 2 ? "|" : "") "^" word[k]
    }
}
{
    if (code($0) !~ /^[ \t]*#[ \t]*include[ \t]*"/) next
    split($0, part, "\"")
    at = FILENAME ":" FNR ": layers: "
    if (allowed == "") print at "this folder belongs to no layer"
    else if (part[2] !~ /\// || part[2] ~ /\.\.\//)
        print at "name \"" part[2] "\" from the root of the tree"
    else if (part[2] !~ allowed || !program_may(part[2]))
        print at "may not include \"" part[2] "\""
}')"
