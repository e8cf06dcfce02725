# bits.sh - functions that damage files; sourced by the cmd of a case.

# start_of FILE TENSOR - the offset of a tensor's data in a safetensors file.
start_of() {
    length=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
    from=$(head -c $((8 + length)) "$1" | tail -c +9 |
        LC_ALL=C sed -n "s|.*\"$2\":{\"dtype\"[^}]*offsets\":\[\([0-9]*\),.*|\1|p")
    echo $((8 + length + from))
}

# place_of FILE TEXT - the offset of the first occurrence of a text.
place_of() {
    LC_ALL=C grep -abo -- "$2" "$1" | head -1 | cut -d: -f1
}

# flip FROM TO AT BIT - a copy with one bit of one byte flipped.
flip() {
    cp "$1" "$2"
    chmod u+w "$2"
    byte=$(tail -c +$(($3 + 1)) "$1" | od -An -t u1 -N 1 | tr -d ' ')
    printf "\\$(printf %03o $((byte ^ (1 << $4))))" |
        dd of="$2" bs=1 seek="$3" conv=notrunc 2>/dev/null
}

# put FILE AT BYTE... - overwrites bytes; each is in octal, such as 300 177.
put() {
    into=$1 at=$2
    shift 2
    for byte in "$@"; do
        printf "\\$byte" | dd of="$into" bs=1 seek="$at" conv=notrunc 2>/dev/null
        at=$((at + 1))
    done
}
