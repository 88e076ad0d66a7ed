# Shared by the scripts in this folder; sourced, never run.
# Gives: where libfuse lives, messages in colour on a terminal, numbered steps with their time.
# shellcheck shell=bash

# The one place that knows where scripts/setup puts libfuse. CMake finds it through pkg-config.
LIBFUSE_PREFIX=/opt/shufflefs/libfuse
export PKG_CONFIG_PATH=$LIBFUSE_PREFIX/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' RESET=$'\e[0m'
else
  BOLD='' RED='' GREEN='' YELLOW='' RESET=''
fi

say() { printf '%s\n' "${BOLD}$*${RESET}"; }
warn() { printf '%s\n' "${YELLOW}warning:${RESET} $*" >&2; }
die() {
  printf '%s\n' "${RED}error:${RESET} $*" >&2
  exit 1
}

# The comment block at the head of the calling script, without its hashes: the text of --help.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# Seconds with one decimal since $1, a value of $EPOCHREALTIME.
elapsed() { awk -v a="${1/,/.}" -v b="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f", b - a }'; }

# step TEXT COMMAND...: runs the command with its output in $STEP_LOG, prints one numbered line with
# the time it took. On failure shows the end of the log and leaves.
# REQUIRES: STEP_LOG is set to a file that can be written, STEP_COUNT to the number of steps; not
# called in a condition, where bash would ignore "set -e" inside the command.
STEP_NUMBER=0
step() {
  local text=$1 start=$EPOCHREALTIME label lines_before ticker='' status
  shift
  STEP_NUMBER=$((STEP_NUMBER + 1))
  label="[$STEP_NUMBER/$STEP_COUNT] $text ... "
  lines_before=$(wc -l <"$STEP_LOG")
  printf '\n==== %s\n' "$label" >>"$STEP_LOG"
  printf '%s' "$label"
  if [[ -t 1 ]]; then
    ticker_loop "$label" $$ &
    ticker=$!
  fi
  set +e
  (
    set -euo pipefail
    "$@"
  ) >>"$STEP_LOG" 2>&1 </dev/null 9>&- # 9: a lock of the caller that daemons must not inherit
  status=$?
  set -e
  if [[ -n $ticker ]]; then
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    printf '\r%s' "$label"
  fi
  if ((status == 0)); then
    printf '%s s\n' "${GREEN}done${RESET} $(elapsed "$start")"
    return 0
  fi
  printf '%s after %s s; the end of %s:\n' "${RED}FAILED${RESET}" "$(elapsed "$start")" "$STEP_LOG"
  tail -n "+$((lines_before + 1))" "$STEP_LOG" | tail -n 30 | sed 's/^/    /'
  exit 1
}

# Shows the passing seconds behind a label on a terminal, until killed or process $2 is gone.
ticker_loop() {
  local started=$SECONDS
  while kill -0 "$2" 2>/dev/null; do
    printf '\r%s%d s ' "$1" "$((SECONDS - started))"
    sleep 0.5
  done
}
