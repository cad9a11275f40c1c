#!/usr/bin/env bash
# Checks every Promela model in test/model with spin, and that each seeded mutant is caught.
#
# A model says in its opening comment what to check:
#   run: [DEFINES]      must have no error, with the whole state space searched
#   mutant: DEFINES …   must have one: otherwise the model could not fail
#
# Usage: scripts/model.sh [model …]      for example: scripts/model.sh spsc
# Prints "N passed, N failed, N skipped". Exit code 1 if anything failed. Without spin everything is skipped, which
# HERMES_REQUIRE_SPIN=1 makes a failure.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
passed=0 failed=0 skipped=0

if ! command -v spin >/dev/null 2>&1 || ! command -v gcc >/dev/null 2>&1; then
  count=$(grep -hE '^ \* (run|mutant):' "$here"/test/model/*.pml | wc -l)
  echo "spin and gcc are needed (Debian: apt-get install spin gcc)"
  if [ "${HERMES_REQUIRE_SPIN:-0}" = 1 ]; then
    echo "0 passed, $count failed, 0 skipped"
    exit 1
  fi
  echo "0 passed, 0 failed, $count skipped"
  exit 0
fi

# check <number> <defines> <model> <role>: runs one check in a folder of its own, and leaves what the verifier found in `verdict`: ok, error, or
# incomplete. A mutant is compiled without optimisation: its error is found long before that would pay.
check() {
  mkdir "$work/$1" && cd "$work/$1" || exit 1
  flags=
  for define in $2; do flags="$flags -D$define"; done
  optimise=-O2
  [ "$4" = mutant ] && optimise=-O0
  # shellcheck disable=SC2086
  spin -a $flags "$here/test/model/$3.pml" >spin.log 2>&1 &&
    gcc $optimise -w -DSAFETY -DNOFAIR -DVECTORSZ=4096 -DMEMLIM=3000 -o pan pan.c >gcc.log 2>&1 ||
    { echo incomplete >verdict; return; }
  timeout 120 ./pan -m200000 -w22 >pan.log 2>&1
  if grep -q 'errors: 0' pan.log && ! grep -qE 'max search depth too small|Search not completed|out of memory' pan.log; then
    echo ok >verdict
  elif grep -qE '^pan:1: (assertion violated|invalid end state)' pan.log; then
    echo error >verdict
  else
    echo incomplete >verdict
  fi
}

: >"$work/list"
for model in ${*:-$(cd "$here/test/model" && ls ./*.pml | sed 's|.*/||; s|\.pml$||')}; do
  sed -n 's/^ \* \(run\|mutant\): *\(\([A-Z_]\+\(=[0-9]\+\)\? *\)*\).*/\1:\2/p' "$here/test/model/$model.pml" |
    sed "s/ *\$//; s/^/$model:/" >>"$work/list"
done

# As many checks at a time as there are processors. The longest are the runs over whole state spaces: they begin first.
jobs=$(nproc 2>/dev/null || echo 1)
grep -n . "$work/list" | sort -t: -k3,3r -s >"$work/order"
running=0
while IFS=: read -r number model role defines; do
  if [ "$running" -ge "$jobs" ]; then
    wait -n
    running=$((running - 1))
  fi
  check "$number" "$defines" "$model" "$role" &
  running=$((running + 1))
done <"$work/order"
wait

number=0
while IFS=: read -r model role defines; do
  number=$((number + 1))
  found=$(cat "$work/$number/verdict" 2>/dev/null || echo incomplete)
  wanted=ok
  [ "$role" = mutant ] && wanted=error
  name="$model${defines:+ ($defines)}"
  if [ "$found" = "$wanted" ]; then
    passed=$((passed + 1))
    [ "$role" = mutant ] && echo "ok      $name: the mutant is caught" || echo "ok      $name"
  else
    failed=$((failed + 1))
    echo "FAILED  $name: $role gave $found"
    tail -n 20 "$work/$number/pan.log" "$work/$number/gcc.log" "$work/$number/spin.log" 2>/dev/null | sed 's/^/          /'
  fi
done <"$work/list"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
