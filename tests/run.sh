#!/usr/bin/env bash
# Runs every suite of tests that gates a change, the quick ones first, and ends with a table of how long each took.
#
# A suite that fails does not keep the next one from running; any failure makes the whole fail. Always the whole
# workspace is selected and only the targets differ: otherwise cargo would build shared crates once for each set
# of features.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Tests that need nothing but the tree: those beside the code, and the test files outside of tests/.
pure_targets() {
    local file
    printf '%s\n' --lib --bins
    for file in $(find host guest-sdk policies -path '*/tests/*.rs' -not -path '*/tests/*/*' | sort); do
        printf '%s\n' --test "$(basename "$file" .rs)"
    done
    for file in $(find host guest-sdk policies -path '*/tests/*/main.rs' | sort); do
        printf '%s\n' --test "$(basename "$(dirname "$file")")"
    done
}

names=() results=() times=()
suite() { # NAME COMMAND...
    local name=$1 started=$SECONDS
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    if "$@"; then results+=(passed); else results+=(FAILED); fi
    names+=("$name") times+=($((SECONDS - started)))
}

mapfile -t pure < <(pure_targets)
suite 'format' cargo fmt --all --check
suite 'lint' cargo clippy --workspace --all-targets --quiet -- --deny warnings
suite 'build' cargo test --workspace --no-run
suite 'pure and engine' cargo test --workspace --no-fail-fast "${pure[@]}"
suite 'documentation' cargo test --workspace --doc
suite 'real mysqld' cargo test --workspace --test agent
suite 'lab' cargo test --workspace --test lab
# One lab and one cluster: its tests take turns, and each says what it measured.
suite 'end to end' cargo test --workspace --test e2e -- --test-threads=1 --nocapture

failed=0
printf '\n%-18s %8s  %s\n' suite time result
for index in "${!names[@]}"; do
    printf '%-18s %5d:%02d  %s\n' "${names[index]}" $((times[index] / 60)) $((times[index] % 60)) "${results[index]}"
    if [[ ${results[index]} != passed ]]; then failed=1; fi
done
printf '%-18s %5d:%02d\n' together $((SECONDS / 60)) $((SECONDS % 60))
exit $failed
