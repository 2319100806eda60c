#!/bin/sh
# The compiler as cargo calls it for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER), with the C library linked into
# the client, so that one file runs on every release that hosts have. Dependencies keep their ordinary build, which
# flags for the whole build would not allow.
set -eu
case " $* " in
*" --crate-name signet "*" --crate-type bin "*) exec "$@" -C target-feature=+crt-static -C strip=debuginfo ;;
*) exec "$@" ;;
esac
