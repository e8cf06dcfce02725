#!/bin/sh
# banned.sh - calls of functions that this project replaces, outside of the one file
# that may use them.
#
# `// lint: allow NAME` at the end of a line exempts it; an exemption that is not needed
# is an error as well.
. "$(dirname "$0")/common.sh"

# Places: a name and its files. Tests may print and allocate.
places='
nowhere ^$
alloc   ^formats/base/alloc[.]c$|^tests/
files   ^formats/base/(infile|outfile)[.]c$|^tests/
json    ^formats/base/json[.]c$
cli     /cli/|^tests/
'

# Name, found as a call or as a word; place that may use it; what to use instead.
table='
strcpy              call nowhere lvlm_strbuf, or memcpy with a checked size
strcat              call nowhere lvlm_strbuf
strncpy             call nowhere lvlm_strbuf, or memcpy with a checked size
strncat             call nowhere lvlm_strbuf
sprintf             call nowhere snprintf or lvlm_strbuf
vsprintf            call nowhere vsnprintf or lvlm_strbuf
strtok              call nowhere strchr or strcspn
atoi                call nowhere strtoull with errno and end checked
atol                call nowhere strtoull with errno and end checked
atof                call nowhere strtod with errno and end checked
scanf               call nowhere strtoull or strtod
sscanf              call nowhere strtoull or strtod
gets                call nowhere getline
alloca              call nowhere lvlm_malloc, or scratch as a parameter
rand                call nowhere a generator whose state is a parameter
srand               call nowhere a generator whose state is a parameter
system              call nowhere nothing
malloc              call alloc   lvlm_malloc
calloc              call alloc   lvlm_calloc
realloc             call alloc   lvlm_realloc
free                call alloc   lvlm_free
strdup              call alloc   lvlm_strdup
strndup             call alloc   lvlm_arena_strndup
printf              call cli     lvlm_fail: libraries do not print
fprintf             call cli     lvlm_fail: libraries do not print
vprintf             call cli     lvlm_fail: libraries do not print
vfprintf            call cli     lvlm_fail: libraries do not print
puts                call cli     lvlm_fail: libraries do not print
fputs               call cli     lvlm_fail: libraries do not print
putchar             call cli     lvlm_fail: libraries do not print
perror              call cli     lvlm_fail_errno: libraries do not print
exit                call cli     an error code: libraries do not exit
_exit               call cli     an error code: libraries do not exit
abort               call cli     assert, or an error code
fopen               call files   lvlm_infile or lvlm_outfile
getenv              call cli     an option of the command
cJSON_GetObjectItem call json    lvlm_json (this one ignores case)
cJSON_Parse         call json    lvlm_json_parse
cJSON_ParseWithLength call json  lvlm_json_parse
cJSON_ArrayForEach  call json    LVLM_JSON_ITEMS or LVLM_JSON_MEMBERS
cJSON_GetArraySize  call json    lvlm_json_count or lvlm_json_count_members
cJSON_GetArrayItem  call json    lvlm_json_item (this one takes an object)
child               word json    lvlm_json_first_item or lvlm_json_first_member
valueint            word json    lvlm_json (this one saturates)
'
export places table

verdict "$(files '*.c' '*.h' | scan '
BEGIN {
    n_places = split(ENVIRON["places"], place, "\n")
    for (i = 1; i <= n_places; i++)
        if (split(place[i], word, " ") == 2) files_of[word[1]] = word[2]
    n_rows = split(ENVIRON["table"], row, "\n")
    for (i = 1; i <= n_rows; i++) {
        n_words = split(row[i], word, " ")
        if (n_words < 4) continue
        name = word[1]
        kind[name] = word[2]
        where[name] = files_of[word[3]]
        instead[name] = word[4]
        for (k = 5; k <= n_words; k++) instead[name] = instead[name] " " word[k]
    }
}
# Find the identifiers of the line that are not allowed here: banned[NAME].
function find(line,    before, name) {
    split("", banned)
    before = " "
    while (match(line, /[A-Za-z_][A-Za-z0-9_]*/)) {
        if (RSTART > 1) before = substr(line, 1, RSTART - 1)
        name = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        if (!(name in kind) || FILENAME ~ where[name]) continue
        if (kind[name] == "call" && (line !~ /^[ \t]*\(/ || before ~ /(->|\.)[ \t]*$/))
            continue
        banned[name] = 1
    }
}
{
    find(code($0))
    allowed = ""
    if (match($0, /lint: allow [A-Za-z0-9_]+/))
        allowed = substr($0, RSTART + 12, RLENGTH - 12)
    at = FILENAME ":" FNR ": banned: "
    for (name in banned)
        if (name != allowed) print at name "; use " instead[name]
    if (allowed != "" && !(allowed in banned))
        print at "the exemption for " allowed " is not needed"
}')"
