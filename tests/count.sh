# For tests/run and tests/quick: counts what test binaries report, and ends with the sum on a plain line of its own. What
# fails without being a test, as a lint or an install, counts as one failure.
# shellcheck shell=bash
counted=$(mktemp)

closing_line() {
  local status=$?
  awk -v status="$status" '/^test result:/ { passed += $4; failed += $6 }
    END { printf "\n%d passed, %d failed\n", passed, failed ? failed : status != 0 }' "$counted"
  rm -f "$counted"
  exit "$status"
}
trap closing_line EXIT
# A run that is interrupted has failed, whatever it had counted.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s\n' "$*"; "$@"; }
# A step whose tests count. Cargo goes on after a binary with failures, so that the sum is whole.
count() { printf '\n== %s\n' "$*"; "$@" | tee -a "$counted"; }
