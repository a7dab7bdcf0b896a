# shellcheck shell=bash
# Sourced by the other scripts: where things are, and how to say what happens.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Tools that scripts/setup builds land where `cargo install` puts them, which need not be on the PATH yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
if [ "${CI:-}" = true ]; then
  # A fresh clone is built once: incremental data would only cost time and disk.
  export CARGO_INCREMENTAL=0 CARGO_TERM_PROGRESS_WHEN=never
fi

say() { printf '%s\n' "== $*"; }
die() { printf '%s\n' "error: $*" >&2; exit 1; }

# step TITLE COMMAND...: runs a command and tells how long it took; its failure ends the script.
step() {
  local title=$1 began=$SECONDS
  shift
  say "$title"
  if ! "$@"; then
    die "$title failed after $((SECONDS - began)) s: $*"
  fi
  say "$title: $((SECONDS - began)) s"
}

# Where the programs of the newest PostgreSQL are, which Debian keeps off the PATH; fails where there is none.
postgres_bin() {
  local found
  found=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1) || found=$(command -v initdb) || return 1
  dirname "$found"
}
