#!/bin/sh
# The compiler as cargo calls it for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER), with the edge counters and
# comparison hooks that libFuzzer steers by. Dependencies keep their ordinary build, so nothing else is compiled twice,
# and only stable flags are used. Build scripts and procedural macros have no libFuzzer to link with: they stay plain.
rustc=$1
shift
case " $* " in
  *" proc-macro "* | *" build_script_build "*) exec "$rustc" "$@" ;;
  *" --print "* | *" -vV "*) exec "$rustc" "$@" ;;
esac
exec "$rustc" "$@" --cfg fuzzing \
  -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
