#!/bin/sh
# Fills corpus/ with what each target starts from.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/elf corpus/join corpus/page corpus/request

# Small real ELF files that import or define HIP functions: every kind of
# relocation and table that the reader knows.
out=corpus/elf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'int hipA(void){return 0;}int hipB(void){return 1;}void*t[]={&hipA,&hipB};' > "$work/def.c"
printf 'int hipA(void);int go(void){return hipA();}' > "$work/use.c"
printf 'int hipA(void);int main(void){return hipA();}' > "$work/main.c"
printf 'hip_4.2 { global: hipA; local: *; }; hip_5.1 { global: hipB; } hip_4.2;' > "$work/map"
cc -shared -fPIC "$work/def.c" -Wl,--version-script="$work/map" -o $out/versioned.so
cc -shared -fPIC "$work/def.c" -Wl,-Bsymbolic -Wl,--hash-style=sysv -o $out/plain.so
cc -shared -fPIC "$work/def.c" -Wl,-Bsymbolic -Wl,-z,pack-relative-relocs -o $out/packed.so
cc -shared -fPIC "$work/use.c" $out/versioned.so -Wl,-rpath,/opt -o $out/use.so
cc -shared -fPIC -fno-plt "$work/use.c" $out/versioned.so -o $out/noplt.so
cc -no-pie "$work/main.c" $out/versioned.so -o $out/fixed
cc -pie -fPIE "$work/main.c" $out/versioned.so -o $out/pie

# Hellos: magic, version 1.0, pid 1, sizes that fit any page; another version,
# longer.
printf 'xshi\1\0\0\0\1\0\0\0\100\0\0\0\100\0\0\0\0\0\0\0' > corpus/join/accepted
printf 'xshi\377\0\7\0\1\0\0\0\100\0\0\0\100\0\0\0\0\0\0\0more' > corpus/join/other

# Writes of 60 bytes all over the pages, 64 bytes each: client, offset (two
# bytes), time that passes as a power of two of ns, content.
for byte in 1 100 377; do
    content=$(printf "\\\\$byte%.0s" $(seq 60))
    for high in $(seq 0 31); do
        for low in 0 100 200 300; do
            # shellcheck disable=SC2059 # the escapes are the content
            printf "\\$((high % 4))\\$low\\$(printf %o "$high")\\30$content"
        done
    done > "corpus/page/everywhere-$byte"
done

# A line of each kind.
n=0
while read -r line; do
    n=$((n + 1))
    printf '%s' "$line" > "corpus/request/$n"
done << 'LINES'
{"op":"hello"}
{"op":"list"}
{"op":"watch","interval_ms":1000}
{"op":"history","pid":1}
{"op":"set","pid":1,"class":"high","weight":256,"slo_p99_ns":30000000,"way":"run"}
{"op":"boost","pid":1,"duration_ms":1000}
{"op":"suspend","pid":1,"timeout_ms":1000}
{"op":"resume","pid":1}
{"op":"explain","pid":1}
{"op":"reload"}
{"op":"set_mode","device":"0000:c1:00.0","mode":"share"}
{"op":"diagnose","pid":1,"duration_ms":1000}
LINES
