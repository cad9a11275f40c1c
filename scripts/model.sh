#!/bin/sh
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

# check <model> <defines>: prints what the verifier found: ok, error, or incomplete
check() {
  rm -rf "$work/run" && mkdir "$work/run" && cd "$work/run" || exit 1
  flags=
  for define in $2; do flags="$flags -D$define"; done
  # shellcheck disable=SC2086
  spin -a $flags "$here/test/model/$1.pml" >spin.log 2>&1 &&
    gcc -O1 -w -DSAFETY -DVECTORSZ=4096 -DMEMLIM=3000 -o pan pan.c >gcc.log 2>&1 ||
    { cat spin.log; cat gcc.log 2>/dev/null; echo incomplete; return; }
  timeout 120 ./pan -m200000 -w22 >pan.log 2>&1
  if grep -q 'errors: 0' pan.log && ! grep -qE 'max search depth too small|Search not completed|out of memory' pan.log; then
    echo ok
  elif grep -qE '^pan:1: (assertion violated|invalid end state)' pan.log; then
    echo error
  else
    tail -n 20 pan.log
    echo incomplete
  fi
}

for model in ${*:-$(cd "$here/test/model" && ls ./*.pml | sed 's|.*/||; s|\.pml$||')}; do
  # shellcheck disable=SC2013
  sed -n 's/^ \* \(run\|mutant\): *\(\([A-Z_]\+\(=[0-9]\+\)\? *\)*\).*/\1:\2/p' "$here/test/model/$model.pml" >"$work/list"
  while IFS=: read -r role defines; do
    defines=$(echo "$defines" | sed 's/ *$//')
    found=$(check "$model" "$defines")
    verdict=$(echo "$found" | tail -n 1)
    wanted=ok
    [ "$role" = mutant ] && wanted=error
    name="$model${defines:+ ($defines)}"
    if [ "$verdict" = "$wanted" ]; then
      passed=$((passed + 1))
      [ "$role" = mutant ] && echo "ok      $name: the mutant is caught" || echo "ok      $name"
    else
      failed=$((failed + 1))
      echo "FAILED  $name: $role gave $verdict"
      echo "$found" | sed '$d; s/^/          /'
      sed -n 's/^pan:1:/          &/p' "$work/run/pan.log" 2>/dev/null
    fi
  done <"$work/list"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
