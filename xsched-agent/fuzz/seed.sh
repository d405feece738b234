#!/bin/sh
# Fills corpus/elf with small real ELF files that import or define HIP
# functions: every kind of relocation and table that the reader knows.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/elf
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
