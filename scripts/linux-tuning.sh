#!/usr/bin/env bash
# Settings of a Linux machine that decide how long the slowest messages take.
#
#   scripts/linux-tuning.sh check           what each setting is, what it should be, and why. Changes nothing. Ends with 1 if something is to be done
#   scripts/linux-tuning.sh apply [--yes]   says what it would change, asks, changes it until the next boot, and notes what was there before. As root
#   scripts/linux-tuning.sh undo            puts back what apply has noted. As root
#   scripts/linux-tuning.sh bench           measures with the settings as they were and as applied, in turn: hermes bench, round trips. As root
#
# The note is in /run/hermes-tuning, which the next boot empties, as it forgets the settings. docs/tuning.md says what to do for good.
set -euo pipefail

# (another root is for tests)
root=${HERMES_TUNING_ROOT:-}
notes=${HERMES_TUNING_NOTES:-$root/run/hermes-tuning}
hermes=${HERMES_TUNING_HERMES:-hermes}

usage() {
  sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$0"
}

fail() {
  echo "linux-tuning: $1" >&2
  exit "${2:-1}"
}

# Every setting: files (a pattern) | the value that is to be there | why.
# A value in brackets among others is how the kernel shows a choice. at-least:N is for numbers.
settings() {
  cat <<'EOF'
/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor|performance|a core that has slowed down takes tens of microseconds to be quick again
/sys/kernel/mm/transparent_hugepage/defrag|madvise|memory is not put together while a program waits for a page
/proc/sys/kernel/numa_balancing|0|pages are not unmapped now and then to see who uses them
/proc/sys/kernel/timer_migration|0|timers stay on the core that set them
/proc/sys/kernel/sched_autogroup_enabled|0|nice and systemd's weights count between sessions
/proc/sys/vm/stat_interval|at-least:10|each core is interrupted for statistics less often
/proc/sys/vm/swappiness|at-most:10|the log's pages do not push programs out of memory
/proc/sys/vm/dirty_background_bytes|at-most:67108864|what was written goes to the disk in small portions, and does not hold up a publisher at a rotation
/proc/sys/net/unix/max_dgram_qlen|at-least:64|a process that is woken for many topics at once learns of each
/proc/sys/net/core/somaxconn|at-least:4096|many clients that connect at once are not turned away
EOF
}

# Parts that a running system has no setting for.
advice() {
  local isolated online
  isolated=$(cat "$root/sys/devices/system/cpu/isolated" 2>/dev/null || true)
  online=$(cat "$root/sys/devices/system/cpu/online" 2>/dev/null || true)
  if [ -z "$isolated" ]; then
    echo "note  no cores are isolated (online: ${online:-?}). Two or more that only Hermes uses: boot with isolcpus=, nohz_full= and rcu_nocbs=, and start what spins with taskset"
  else
    echo "ok    cores $isolated are isolated"
  fi
  if [ -d "$root/sys/devices/system/cpu/cpu0/cpuidle" ]; then
    echo "note  idle cores sleep deeply. Boot with processor.max_cstate=1 (intel_idle.max_cstate=0), or hold /dev/cpu_dma_latency open at 0, if each microsecond of waking counts"
  fi
  if [ -e "$root/proc/irq/default_smp_affinity" ] && [ -n "$isolated" ]; then
    echo "note  keep interrupts off the isolated cores: irqbalance with IRQBALANCE_BANNED_CPULIST=$isolated, or /proc/irq/*/smp_affinity_list"
  fi
  local open
  open=$(ulimit -n)
  if [ "$open" != unlimited ] && [ "$open" -lt 65536 ]; then
    echo "note  $open files may be open in this shell: LimitNOFILE=65536 in a unit, or ulimit -n 65536, for thousands of topics or clients"
  fi
}

# current FILE: what it holds, of a choice the one in brackets.
current() {
  local text
  text=$(cat "$1" 2>/dev/null) || return 1
  if [[ $text =~ \[([^]]+)\] ]]; then echo "${BASH_REMATCH[1]}"; else echo "$text"; fi
}

# is_met VALUE WANTED
is_met() {
  case $2 in
    at-least:*) [[ $1 =~ ^[0-9]+$ ]] && [ "$1" -ge "${2#at-least:}" ] ;;
    at-most:*) [[ $1 =~ ^[0-9]+$ ]] && [ "$1" -le "${2#at-most:}" ] && { [ "$1" -gt 0 ] || [[ $3 != *_bytes ]]; } ;;
    *) [ "$1" = "$2" ] ;;
  esac
}

value_of() {
  local wanted=$1
  wanted=${wanted#at-least:}
  echo "${wanted#at-most:}"
}

# each DO: calls DO file value wanted why for each setting that this machine has.
each() {
  local pattern wanted why file value
  while IFS='|' read -r pattern wanted why; do
    for file in "$root"$pattern; do
      [ -e "$file" ] || continue
      value=$(current "$file") || continue
      "$1" "$file" "$value" "$wanted" "$why"
    done
  done < <(settings)
}

todo=0
show() {
  if is_met "$2" "$3" "$1"; then
    echo "ok    ${1#"$root"} = $2"
  else
    echo "do    ${1#"$root"} = $2, better $(value_of "$3"): $4"
    todo=$((todo + 1))
  fi
}

check() {
  each show
  advice
  if [ "$todo" -gt 0 ]; then
    echo "$todo to be done: '$0 apply' does it until the next boot"
    return 1
  fi
}

changes=()
plan() {
  is_met "$2" "$3" "$1" || changes+=("$1|$2|$(value_of "$3")")
}

may_write() {
  [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "changing these settings takes root: sudo $0 $1" 4
}

set_value() {
  { echo "$2" >"$1"; } 2>/dev/null || { echo "linux-tuning: ${1#"$root"} can't be set to $2 here (a container, or a virtual machine's host decides)" >&2; return 1; }
}

# Of dirty_background_bytes and _ratio, one counts, and the other one is 0: what counts is noted.
note() {
  local file=$1 before=$2
  if [[ $file == *_bytes ]] && [ "$before" = 0 ] && [ -e "${file%bytes}ratio" ]; then
    file=${file%bytes}ratio
    before=$(cat "$file")
  fi
  grep -qsF "$file|" "$notes/before" || echo "$file|$before" >>"$notes/before"
}

apply() {
  may_write apply
  changes=()
  each plan
  if [ "${#changes[@]}" = 0 ]; then
    echo 'nothing to be done'
    return
  fi
  local change file before after answer
  for change in "${changes[@]}"; do
    IFS='|' read -r file before after <<<"$change"
    echo "${file#"$root"}: $before → $after"
  done
  if [ "${1:-}" != --yes ]; then
    [ -t 0 ] || fail 'nothing was changed: apply asks first; --yes says yes' 2
    read -r -p 'Change these until the next boot? [y/N] ' answer
    [[ $answer =~ ^[yY] ]] || fail 'nothing was changed' 2
  fi
  mkdir -p "$notes"
  local failed=0
  for change in "${changes[@]}"; do
    IFS='|' read -r file before after <<<"$change"
    # Noted before it is changed; what an earlier apply has noted is what was there first.
    note "$file" "$before"
    set_value "$file" "$after" || failed=1
  done
  echo "what was there before is noted in $notes/before: '$0 undo' puts it back"
  return "$failed"
}

undo() {
  may_write undo
  [ -s "$notes/before" ] || fail "nothing is noted in $notes: nothing was applied since the machine started"
  local file before failed=0
  while IFS='|' read -r file before; do
    set_value "$file" "$before" || failed=1
  done <"$notes/before"
  [ "$failed" = 0 ] || fail "not everything could be put back; the note stays in $notes/before"
  rm -f "$notes/before"
  echo 'as before'
}

bench() {
  may_write bench
  command -v "$hermes" >/dev/null || fail "there is no '$hermes' on the PATH: npm install -g hermes-mq, or HERMES_TUNING_HERMES=path" 3
  local noted=0 round
  [ -s "$notes/before" ] && noted=1
  [ "$noted" = 0 ] || undo >/dev/null
  trap '[ "$noted" = 1 ] || [ ! -s "$notes/before" ] || undo >/dev/null' EXIT
  for round in 1 2 3; do
    echo "round $round of 3, as it was"
    "$hermes" bench --only round-trip --quiet
    apply --yes >/dev/null || true
    echo "round $round of 3, tuned"
    "$hermes" bench --only round-trip --quiet
    [ ! -s "$notes/before" ] || undo >/dev/null
  done
  [ "$noted" = 0 ] || apply --yes >/dev/null
}

case ${1:-} in
  check) [ $# = 1 ] || fail "check takes no arguments" 2; check ;;
  apply) [ $# = 1 ] || { [ $# = 2 ] && [ "$2" = --yes ]; } || fail "apply takes --yes, or nothing" 2; apply "${2:-}" ;;
  undo) [ $# = 1 ] || fail "undo takes no arguments" 2; undo ;;
  bench) [ $# = 1 ] || fail "bench takes no arguments" 2; bench ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac
