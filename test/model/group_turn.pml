/*
 * The turn of exclusive and keyed groups, taken in the middle of a claim (docs/group-format.md): the member that has it takes sequences from `next`, enters
 * them, and looks at the turn once more before it hands anything over. Another one takes the turn from it at any step, because its lease seems over,
 * and then goes through the entries: what the one before has claimed, or taken and not entered, it returns.
 *
 * Checked: whoever hands a message over after the turn was taken from him hands over nothing that the one who took it has not found: so the second one
 * knows of every message that the first one may be handling. What was not handed over is there to be claimed again.
 *
 * run:
 * mutant: NO_SECOND_LOOK           who has claimed does not look at the turn again
 * mutant: LOOK_FIRST               he looks before he claims, and not after
 * mutant: ENTRIES_FIRST            who takes the turn goes through the entries before he takes it
 * mutant: KEEPS                    who finds his turn gone does not return what he has claimed
 */
#define N 2 /* messages: sequences 0 and 1 */

mtype = { nothing, claimed, returned };
mtype state[N];     /* of the entry; claimed: by the first member */
byte next = 0;
byte turn = 1;      /* whose it is */
bool handed[N];     /* the first member handles it */
bool found[N];      /* the second one knows that he may */
bool mine[N];       /* the second one has claimed it by itself */
bool first_over = false, second_over = false;

/* Goes on with what it is doing, whatever becomes of its turn: it may have been stopped. */
proctype First() {
  byte s = 0;
  bool has;
  do
  :: s < N && turn == 1 ->
#ifdef LOOK_FIRST
     has = (turn == 1);
#endif
     if
     :: atomic { next == s -> next = s + 1 };
        /* entered by an exchange: whoever looks may have found it missing */
        if
        :: atomic { state[s] == nothing -> state[s] = claimed };
#ifdef NO_SECOND_LOOK
           has = true;
#elif !defined(LOOK_FIRST)
           has = (turn == 1);
#endif
           if
           :: has -> handed[s] = true
           :: else ->
#ifndef KEEPS
              atomic { if :: state[s] == claimed && !found[s] -> state[s] = returned :: else fi }
#else
              skip
#endif
           fi
        :: atomic { state[s] != nothing -> skip }
        fi
     :: atomic { next != s -> skip }
     fi;
     s++
  :: else -> break
  od;
  first_over = true
}

inline look() {
  n = next;
  s = 0;
  do
  :: s < n ->
     atomic {
       if
       :: state[s] == claimed && !mine[s] -> state[s] = returned; found[s] = true
       :: state[s] == nothing -> state[s] = returned
       :: else
       fi
     };
     s++
  :: else -> break
  od
}

proctype Second() {
  byte s, n;
#ifdef ENTRIES_FIRST
  look();
#endif
  turn = 2;
#ifndef ENTRIES_FIRST
  look();
#endif
  second_over = true
}

init {
  byte i;
  atomic {
    i = 0;
    do :: i < N -> state[i] = nothing; i++ :: else -> break od;
    run First();
    run Second()
  }
  first_over && second_over;
  i = 0;
  do
  :: i < N ->
     assert(!handed[i] || found[i]);
     /* taken from `next`, and neither handed over nor there to be claimed again: it would be missed for good */
     assert(i >= next || handed[i] || state[i] == returned);
     i++
  :: else -> break
  od
}
