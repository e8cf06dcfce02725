#!/bin/sh
# format.sh - sources are formatted by clang-format 14: other versions format some lines
# differently. Without it, exit status 77: skipped. To reformat: clang-format-14 -i FILE
. "$(dirname "$0")/common.sh"

for tool in clang-format-14 clang-format none; do
    case $("$tool" --version 2>/dev/null) in *' version 14.'*) break ;; esac
done
if [ "$tool" = none ]; then
    echo 'lint/format: there is no clang-format 14 here'
    exit 77
fi

# Its messages go "file:line:column: error: code should be clang-formatted [...]".
verdict "$(files '*.c' '*.h' | xargs "$tool" --style=file --dry-run -Werror 2>&1 |
    sed -n 's/^\([^:]*:[0-9]*\):[0-9]*: error:.*/\1: format: clang-format differs/p' |
    uniq)"
