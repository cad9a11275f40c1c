/*
 * Claim and commit in the log (docs/log-format.md: Publishing, Locks): producers claim space by a compare-and-swap on the frame's first word, write, commit;
 * rotate at the end of a segment; one of them may die at any step; a repairer turns its claim into a void; a successor takes its slot.
 *
 * Checked: the reader sees dense sequences, each committed message exactly once and whole, each producer's in order; the base
 * sequence of a segment is the same whoever computes it; after a death nobody hangs (an invalid end state).
 *
 * run:
 * run: DEATH
 * mutant: COMMIT_FIRST             committed before the payload is written
 * mutant: NO_CAS                   claims by a load and a store
 * mutant: NO_LIVENESS_CHECK DEATH  a claim of a living producer is repaired
 * mutant: NO_VOIDING DEATH         a successor doesn't void its predecessor's claims
 * mutant: NO_LOCK_ORDER DEATH      a repairer looks at the slot's lock first, at the claim afterwards, and takes no recovery lock
 */
#define SEGMENTS 2
#ifdef DEATH                       /* a death at every step multiplies the states: fewer messages */
#define UNITS 3                    /* per segment */
#define LAST(who) (who == 1 -> 2 : 1)
#else
#define UNITS 4
#define LAST(who) 2
#endif
#define CELLS 8

mtype = { nothing, claim, data, padding, void };

mtype kind[CELLS];                 /* with owner, span and count: one 64-bit word */
byte owner[CELLS], span[CELLS], count[CELLS];
byte seq[CELLS], payload[CELLS];   /* the rest of the frame */
byte base[SEGMENTS];               /* 0 = not in use */
bool lock_held[3];                 /* of slots 1 and 2 */
bool recovery_lock = false;
byte running = 2;                  /* producers and successors that may still publish */
bool died = false;
bool settled = false;              /* what follows a death has happened, or will not */
bool settled_for_good = false;     /* and the last repair is done */
byte acknowledged = 0, delivered = 0;
byte last[5];

#define LOCK atomic { !recovery_lock -> recovery_lock = true }
#define UNLOCK recovery_lock = false

#ifdef DEATH
#define MAY_DIE :: atomic { !died && who <= 2 -> died = true; lock_held[slot] = false; goto dead }
#else
#define MAY_DIE
#endif

/* Commits a dead claim: void, or padding if it would have become that. */
inline bury(at) {
  atomic {
    if
    :: count[at] == 0 -> kind[at] = padding
    :: else -> seq[at] = 0; kind[at] = void
    fi
  }
}

inline void_all_of(s) {
  LOCK;
  do
  :: atomic {
       c = 0;
       do
       :: c < CELLS && !(kind[c] == claim && owner[c] == s) -> c++
       :: else -> break
       od
     };
     if
     :: c < CELLS -> bury(c)
     :: else -> break
     fi
  od;
  c = 0;
  UNLOCK
}

/* CAS of the word at `at` from 0 to a claim. */
inline try_claim(at, sp, ct) {
#ifdef NO_CAS
  if
  :: kind[at] == nothing ->
     atomic { kind[at] = claim; owner[at] = slot; span[at] = sp; count[at] = ct };
     won = true
  :: else -> won = false
  fi
#else
  atomic {
    if
    :: kind[at] == nothing ->
       kind[at] = claim; owner[at] = slot; span[at] = sp; count[at] = ct;
       won = true
    :: else -> won = false
    fi
  }
#endif
}

/* who: 1, 2 the producers; 3 a successor in slot `slot`. LAST is the number of messages. */
proctype Producer(byte who; byte slot) {
  byte segment, offset, next, number, size, at, c;
  bool won;
  segment = 0; offset = 0; next = 1; number = 1;
  if
  :: who == 3 ->
#ifndef NO_VOIDING
     void_all_of(slot)
#else
     skip
#endif
  :: else
  fi;
  do
  :: number > LAST(who) -> break
  :: else ->
#ifdef DEATH
     if :: who == 1 -> size = 1 :: who == 1 -> size = 2 :: who == 2 -> size = 1 :: who == 3 -> size = 2 fi;
#else
     if :: size = 1 :: size = 2 fi;
#endif
     do
     :: offset + size > UNITS ->
        /* rotate */
        if
        :: offset < UNITS ->
           at = segment * UNITS + offset;
           try_claim(at, UNITS - offset, 0);
           if
           :: won ->
              if :: true MAY_DIE fi;
              kind[at] = padding;
              offset = UNITS
           :: else -> d_step { offset = offset + span[at]; next = next + count[at] }
           fi
        :: else ->
           if :: segment + 1 == SEGMENTS -> goto filled :: else fi;
           if :: true MAY_DIE fi;
           assert(base[segment + 1] == 0 || base[segment + 1] == next);
           base[segment + 1] = next;
           segment++;
           offset = 0
        fi
     :: else ->
        at = segment * UNITS + offset;
        try_claim(at, size, 1);
        if
        :: won -> break
        :: else -> d_step { offset = offset + span[at]; next = next + count[at] }
        fi
     od;
     if :: true MAY_DIE fi;
#ifdef COMMIT_FIRST
     kind[at] = data;
     d_step { seq[at] = next; payload[at] = who * 16 + number };
#else
     d_step { seq[at] = next; payload[at] = who * 16 + number };
     if :: true MAY_DIE fi;
     kind[at] = data;
#endif
     d_step { acknowledged++; offset = offset + size; next++; number++; at = 0; size = 0; won = false }
  od;
filled:
dead:
  atomic { running--; at = 0; size = 0; won = false; offset = 0; next = 0; segment = 0; number = 0 }
}

proctype After() {
  byte s, c;
  if
  :: died
  :: !died && running == 0 -> goto quiet
  fi;
  if :: !lock_held[1] -> s = 1 :: !lock_held[2] -> s = 2 :: running == 0 && lock_held[1] && lock_held[2] -> goto quiet fi;
  if
  :: skip
  :: atomic { running++; lock_held[s] = true; run Producer(3, s) }
  fi;
quiet:
  settled = true
}

#define FREE(c) (kind[c] == claim && !lock_held[owner[c]])
#define FREE_CLAIM (FREE(0) || FREE(1) || FREE(2) || FREE(3) || FREE(4) || FREE(5) || FREE(6) || FREE(7))
#define CLAIM(c) (kind[c] == claim)
#define ANY_CLAIM (CLAIM(0) || CLAIM(1) || CLAIM(2) || CLAIM(3) || CLAIM(4) || CLAIM(5) || CLAIM(6) || CLAIM(7))
#ifdef NO_LIVENESS_CHECK
#define MAY_BURY CLAIM
#define WORK ANY_CLAIM
#else
#define MAY_BURY FREE
#define WORK FREE_CLAIM
#endif

/* Any participant that waits: finds a claim whose owner's lock is free, and looks again under the recovery lock. */
proctype Repairer() {
  byte c, s;
  do
#ifdef NO_LOCK_ORDER
  :: !lock_held[1] || !lock_held[2] ->
     atomic { if :: !lock_held[1] -> s = 1 :: else -> s = 2 fi };
     if
     :: atomic { ANY_CLAIM -> c = 0; do :: CLAIM(c) -> break :: else -> c++ od };
        if :: kind[c] == claim && owner[c] == s -> bury(c) :: else fi
     :: running == 0 && settled && !FREE_CLAIM -> break
     fi
#else
  :: atomic { WORK -> c = 0; do :: MAY_BURY(c) -> break :: else -> c++ od };
     LOCK;
     if :: MAY_BURY(c) -> bury(c) :: else fi;
     UNLOCK;
     c = 0
#endif
  :: running == 0 && settled && !FREE_CLAIM -> break
  od;
  settled_for_good = true
}

#define AT (segment * UNITS + offset)
#define FROM (payload[AT] / 16)
proctype Reader() {
  byte segment, offset, next;
  segment = 0; offset = 0; next = 1;
  do
  :: offset == UNITS ->
     if
     :: segment + 1 == SEGMENTS -> break
     :: else
     fi;
     if
     :: base[segment + 1] != 0 ->
        segment++; offset = 0;
        assert(base[segment] == next)
     :: settled_for_good && running == 0 && base[segment + 1] == 0 -> break
     fi
  :: else ->
     if
     :: kind[AT] == data ->
        d_step {
          assert(seq[AT] == next);
          assert(FROM >= 1 && FROM <= 3 && payload[AT] % 16 > last[FROM]);
          last[FROM] = payload[AT] % 16;
          delivered++;
          next++;
          offset = offset + span[AT]
        }
     :: kind[AT] == void -> d_step { next = next + count[AT]; offset = offset + span[AT] }
     :: kind[AT] == padding -> offset = UNITS
     :: kind[AT] == nothing && settled_for_good && running == 0 -> break
     /* nothing yet, or a claim: poll */
     fi
  od
}

init {
  byte i;
  atomic {
    i = 0;
    do :: i < CELLS -> kind[i] = nothing; i++ :: else -> break od;
    base[0] = 1;
    lock_held[1] = true;
    lock_held[2] = true;
    run Producer(1, 1);
    run Producer(2, 2);
    run Reader();
#ifdef DEATH
    run After();
#else
    settled = true;
#endif
    run Repairer()
  }
  _nr_pr == 1;
  assert(delivered == acknowledged)
}
