#!/usr/bin/env bash
# Fuzzes frame decoder, the intake of packets, segment reader with recovery, recovery of whole topics, control file and group file with libFuzzer and sanitizers, and the struct codec under vitest:
#
#   scripts/fuzz.sh [--keep] [seconds per target] [frame|packet|segment|damage|control|group|struct …]
#   scripts/fuzz.sh --fixed [frame|packet|segment|damage|control|group …]
#
# The first explores with a random seed, which it prints. It begins with what is kept in native/fuzz/corpus/. What it finds interesting goes to build/fuzz/corpus/, what
# crashes to build/fuzz/. With --keep, the kept corpus is made anew from both: as few and small inputs as reach the same code; inputs with a name of their own stay.
# The second, for npm test, runs what is kept and then a fixed number of inputs that follow from a fixed seed: the same ones everywhere and each time
# (native/fuzz/fixed_runs.cc). Needs clang with libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
keep=false
fixed=false
seconds=30
case ${1:-} in
  --fixed)
    fixed=true
    shift
    ;;
  --keep)
    keep=true
    shift
    ;;
esac
if ! $fixed && [ $# -gt 0 ]; then
  seconds=$1
  shift
fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frame packet segment damage control group struct)
# Some ten seconds for each, and a bound for a machine that is busy: what was done until then counts.
declare -A fixed_runs=([frame]=200000 [packet]=300000 [segment]=10000 [damage]=3000 [control]=10000 [group]=10000)
fixed_seconds=60
random() { echo $(($(od -An -N4 -tu4 /dev/urandom))); }
passed=0
failed=0
native=()
for target in "${targets[@]}"; do
  if [ "$target" != struct ]; then
    native+=("$target")
    continue
  fi
  seed=$(random)
  if HERMES_FUZZ_SECONDS=$seconds HERMES_FUZZ_SEED=$seed npx vitest run test/codec/struct-fuzz.test.ts; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
done
targets=("${native[@]}")
clang=${CXX:-$(command -v clang++ clang++-14 clang++-15 clang++-16 clang++-17 clang++-18 clang++-19 | head -n 1 || true)}
if [ ${#targets[@]} -eq 0 ]; then
  echo "$passed passed, $failed failed, 0 skipped"
  exit $((failed > 0))
elif [ -z "$clang" ]; then
  echo "clang++ is missing: apt-get install clang" >&2
  echo "$passed passed, $failed failed, ${#targets[@]} skipped"
  exit $((failed > 0))
fi
out=${HERMES_FUZZ_DIR:-build/fuzz}
mkdir -p "$out"
flags=(-std=c++20 -O1 -g -fno-exceptions -pthread -Inative -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined)
newest=$(find native -name '*.h' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
core=()
jobs=()
while read -r source; do
  case $source in core/*) ;; *) continue ;; esac
  object=$out/${source//\//_}.o
  core+=("$object")
  [ "$object" -nt "native/$source" ] && [ "$object" -nt "$newest" ] && continue
  extra=()
  case $source in
    *pclmul*) extra=(-msse4.1 -mpclmul) ;;
  esac
  jobs+=("$clang ${flags[*]} ${extra[*]:-} -c native/$source -o $object")
done < <(grep -v '^#' native/sources.txt)
[ ${#jobs[@]} -eq 0 ] || printf '%s\n' "${jobs[@]}" | xargs -P 2 -I {} sh -c '{}'
for target in "${targets[@]}"; do
  kept=native/fuzz/corpus/$target
  corpus=$out/corpus/$target
  mkdir -p "$corpus" "$kept"
  "$clang" "${flags[@]}" -fsanitize=fuzzer "native/fuzz/${target}_fuzz.cc" native/fuzz/fixed_runs.cc "${core[@]}" -o "$out/$target"
  if $fixed; then
    if ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=abort_on_error=1 "$out/$target" "--fixed-runs=${fixed_runs[$target]}" \
      "--at-most-seconds=$fixed_seconds" "--artifact-prefix=$out/$target-" "$kept" >"$out/$target.log" 2>&1; then
      passed=$((passed + 1))
      echo "$target: $(tail -n 1 "$out/$target.log")"
    else
      failed=$((failed + 1))
      tail -n 40 "$out/$target.log"
    fi
    continue
  fi
  seed=$(random)
  echo "$target: seed $seed, for $seconds s"
  if "$out/$target" -seed="$seed" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$out/$target-" "$corpus" "$kept" >"$out/$target.log" 2>&1; then
    passed=$((passed + 1))
    echo "$target: $(grep -o 'number_of_executed_units: .*' "$out/$target.log") runs, $(ls "$kept" | wc -l) inputs kept and $(ls "$corpus" | wc -l) found here"
    if $keep; then
      rm -rf "$out/merged-$target"
      mkdir "$out/merged-$target"
      "$out/$target" -set_cover_merge=1 -max_len=4096 "$out/merged-$target" "$kept" "$corpus" >>"$out/$target.log" 2>&1
      find "$kept" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
      cp "$out/merged-$target"/* "$kept/"
      echo "$target: $(ls "$kept" | wc -l) inputs are kept now, $(du -sb "$kept" | cut -f 1) bytes"
    fi
  else
    failed=$((failed + 1))
    tail -n 40 "$out/$target.log"
  fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
