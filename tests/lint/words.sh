#!/bin/sh
# words.sh - words about the authors of the tree instead of its contents: notes to
# oneself, and folders and hosts that a reader does not have.
. "$(dirname "$0")/common.sh"

# Extended regular expressions. Each contains a bracket expression so that it does not
# match itself.
words='
(^|[^A-Za-z])(TO[D]O|FIX[M]E|XX[X])([^A-Za-z]|$)
(^|[^A-Za-z0-9_.])/wor[k]/
(^|[^A-Za-z0-9_.])/tm[p]/[A-Za-z]
(^|[^A-Za-z0-9_])/(hom[e]|roo[t])/
(^|[^A-Za-z0-9_/-])share[d]/
(pypi|debian|npmjs|crates|conda)[.](or[g]|i[o]|co[m])
(artifac[t]ory|snapshot[.]debia[n]|10[.]255[.]25[5])
(^|[^A-Za-z])(work[p]lace|co[-]?worker|collea[g]ue|sub[-]?agen[t])
(^|[^A-Za-z])[Ii]ssu[e] *#?[0-9]
(^|[^A-Za-z])(this|earlier|next|last) sessio[n]
'

verdict "$(files '*' | while IFS= read -r file; do
    printf '%s\n' "$words" | grep . | grep -nIoE -f - "$file" /dev/null
done | sed -n 's/^\([^:]*:[0-9]*\):/\1: words: /p')"
