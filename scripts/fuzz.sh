#!/usr/bin/env bash
# Fuzzes frame decoder, segment reader with recovery, and control file with libFuzzer and sanitizers: scripts/fuzz.sh [seconds per target] [target …]
# What was found interesting is kept in build/fuzz/corpus/, what crashes in build/fuzz/. Needs clang with libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frame segment control)
clang=${CXX:-$(command -v clang++ clang++-14 clang++-15 clang++-16 clang++-17 clang++-18 clang++-19 | head -n 1 || true)}
if [ -z "$clang" ]; then
  echo "clang++ is missing: apt-get install clang" >&2
  echo "0 passed, 0 failed, ${#targets[@]} skipped"
  exit 0
fi
out=${HERMES_FUZZ_DIR:-build/fuzz}
mkdir -p "$out"
flags=(-std=c++20 -O1 -g -fno-exceptions -pthread -Inative -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined)
core=()
jobs=()
while read -r source; do
  case $source in core/*) ;; *) continue ;; esac
  object=$out/${source//\//_}.o
  core+=("$object")
  [ "$object" -nt "native/$source" ] && continue
  extra=()
  case $source in
    *pclmul*) extra=(-msse4.1 -mpclmul) ;;
  esac
  jobs+=("$clang ${flags[*]} ${extra[*]:-} -c native/$source -o $object")
done < <(grep -v '^#' native/sources.txt)
[ ${#jobs[@]} -eq 0 ] || printf '%s\n' "${jobs[@]}" | xargs -P 2 -I {} sh -c '{}'
passed=0
failed=0
for target in "${targets[@]}"; do
  corpus=$out/corpus/$target
  mkdir -p "$corpus"
  "$clang" "${flags[@]}" -fsanitize=fuzzer "native/fuzz/${target}_fuzz.cc" "${core[@]}" -o "$out/$target"
  if "$out/$target" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$out/$target-" "$corpus" >"$out/$target.log" 2>&1; then
    passed=$((passed + 1))
    echo "$target: $(grep -o 'number_of_executed_units: .*' "$out/$target.log") runs, $(ls "$corpus" | wc -l) in the corpus"
  else
    failed=$((failed + 1))
    tail -n 40 "$out/$target.log"
  fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
