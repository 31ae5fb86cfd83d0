# Shared by the scripts beside it, which source it first. It takes them to the root of the repository, so that all of
# them work from any directory.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# Everything setup installs, and nothing else.
tools=$root/.tools
# The Envoy that scripts and tests run, whichever one it stands for.
envoy=$tools/bin/envoy
# Stated, so that a target directory from a person's own Cargo configuration does not hide what is built.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

step() {
  printf '\n== %s\n' "$*"
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Runs setup, once however many scripts call each other. From here on ENVOY is the one that setup found.
ensure_setup() {
  if [[ -z ${ENDPOINT_PICKER_SETUP:-} ]]; then
    scripts/setup
    export ENDPOINT_PICKER_SETUP=1 ENVOY=$envoy
  fi
}
