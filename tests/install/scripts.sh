#!/bin/sh
# scripts.sh - the output of install.sh and all.sh on simulated machines: one without
# any package, and one where tests pass, fail, are skipped or do not start.
set -u
tests=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/tests" "$scratch/bin"
cp "$tests"/*.sh "$scratch/tests/"
cd "$scratch" || exit 2
verdict=0

# wrong WHAT - prints it with the output that shows it, and exits.
wrong() {
    echo "$1:"
    cat out
    verdict=1
}

# stub NAME - creates a program from the text on stdin.
stub() {
    cat >"bin/$1"
    chmod +x "bin/$1"
}

for tool in sh awk cat date dirname expr grep mkdir mktemp printf rm sed sort uname; do
    path=$(command -v $tool)
    case $path in /*) ln -s "$path" "bin/$tool" ;; esac
done
stub id <<'END'
#!/bin/sh
echo 1000
END
for purpose in unprepared build test; do
    PATH=$scratch/bin sh tests/install.sh $purpose >out 2>&1 &&
        wrong "install.sh $purpose: nothing is there, and it succeeds"
    line=$(sed -n 's/.*as root on Debian.*: *apt-get install.*recommends //p' out)
    [ -n "$line" ] || wrong "install.sh $purpose: no command that installs"
    [ -z "$(printf '%s\n' $line | sort | uniq -d)" ] ||
        wrong "install.sh $purpose: a package is named twice"
    case $purpose$line in
    unprepared*libpng*) wrong 'install.sh unprepared: with libraries for images' ;;
    esac
done
case $line in *libclang-rt-dev*) ;; *) wrong 'install.sh test: no sanitizers' ;; esac

# Four tests, one of each result; this machine cannot run arm64.
stub cmake </dev/null
stub nproc <<'END'
#!/bin/sh
echo 2
END
stub ctest <<'END'
#!/bin/sh
while [ "$1" != --output-junit ]; do shift; done
cat >"$2" <<'XML'
<testsuite name="x" tests="4" skipped="2">
  <testcase name="a" status="run">
    <system-out></system-out>
  <testcase name="b" status="fail">
    <failure message=""/>
  <testcase name="c" status="notrun">
    <skipped message="SKIP_RETURN_CODE=77"/>
    <properties/>
    <system-out>c: there is no tool here
</system-out>
  <testcase name="d" status="notrun">
    <skipped message="Unable to find executable"/>
XML
exit 8
END
echo 'exit 0' >tests/install.sh
PATH=$scratch/bin sh tests/all.sh >out 2>&1 && wrong 'all.sh: it fails and succeeds'
stages=$(sed -n 's/^== stage 1 of \([0-9]*\): .*/\1/p' out)
n=$((stages - 1))
[ "$(tail -n 1 out)" = "$n passed, $((2 * n)) failed, $((n + 1)) skipped" ] ||
    wrong 'all.sh: the sum is another'
grep -q '^skipped: c: there is no tool here$' out || wrong 'all.sh: skipped, why?'
grep -q '^skipped: there is no aarch64-linux-gnu-gcc ' out || wrong 'all.sh: no arm64'
grep -q '^== stage 1 of .* about [0-9]* min ==$' out || wrong 'all.sh: how long?'
exit "$verdict"
