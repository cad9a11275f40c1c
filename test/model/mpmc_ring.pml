/*
 * The MPMC ring of docs/ring-layout.md, sections 5 and 6: claims that name their owner, helping, the end, the death of a
 * participant at any step, resolution by survivors, and a successor in the dead one's entry.
 *
 * Participants 1 and 2 push, 3 and 4 pop. With DEATH one of them may die, after which either somebody marks it dead (as RingFile::probe
 * does) or a successor takes its entry and, if that was a consumer's, pops. Fewer take part then, to keep the states few.
 *
 * Checked: no item twice; each producer's items in order; an item that was pushed is popped, except by a consumer that died with
 * it; nothing after the end; survivors don't hang (an invalid end state).
 *
 * run:
 * run: DEATH CONSUMERS=1 EACH=1
 * run: DEATH PRODUCERS=1 EACH=3
 * mutant: PUBLISH_FIRST            the slot's word may become visible before the item
 * mutant: BLIND_CLAIM              a claim is a load and a store, no CAS
 * mutant: EARLY_FREE               a consumer frees the slot before its read
 * mutant: NO_RESOLVE DEATH CONSUMERS=1 EACH=1  survivors don't resolve dead claims
 * mutant: NO_LIVENESS_CHECK DEATH CONSUMERS=1 EACH=1  survivors resolve claims of the living
 * mutant: NO_SUCCESSION_CHECK DEATH CONSUMERS=1 EACH=1  a successor leaves its predecessor's claims
 */
#define CAP 2
#define MOD 16                     /* positions count modulo this */
#define START 14
#ifndef EACH
#define EACH 2                     /* items per producer */
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#define VOID 15                    /* owner of a void; and, on a free word, the end */
#define TURN(p) (((p) / CAP) * 2)
#define W(turn, owner) (((turn) % MOD) * 16 + (owner))
#define TURN_OF(w) ((w) / 16)
#define OWNER_OF(w) ((w) % 16)
#define NEXT(p) (((p) + 1) % MOD)

#define ATTACHED 1
#define DEAD 3

byte word[CAP];
byte item[CAP];
byte producer_index = START, consumer_index = START;
byte entry[5];                     /* 1..4: the states of the participants */
bool lock_held[5];                 /* what the kernel knows */
byte seen[16];                     /* by item */
byte last[8];                      /* by consumer and producer: its highest item so far, to check the order */
byte producing = PRODUCERS;
bool died = false;

#ifdef DEATH
#define MAY_DIE :: atomic { !died -> died = true; lock_held[me] = false; goto dead }
#else
#define MAY_DIE
#endif

#define PASS(index, p) atomic { if :: index == p -> index = NEXT(p) :: else fi }

inline resolve_claim(place, w) {
  if
  :: TURN_OF(w) % 2 == 0 ->
     r = producer_index;
     if :: r % CAP == place && TURN(r) == TURN_OF(w) -> PASS(producer_index, r) :: else fi;
     atomic { if :: word[place] == w -> word[place] = W(TURN_OF(w) + 1, VOID) :: else fi }
  :: else ->
     r = consumer_index;
     if :: r % CAP == place && TURN(r) + 1 == TURN_OF(w) -> PASS(consumer_index, r) :: else fi;
     atomic { if :: word[place] == w -> word[place] = W(TURN_OF(w) + 1, 0) :: else fi }
  fi;
  r = 0
}

/* Sets `changed` if the word may have changed. */
inline resolve(place, w) {
  changed = false;
#ifndef NO_RESOLVE
  if
  :: OWNER_OF(w) >= 1 && OWNER_OF(w) <= 4 ->
     if
#ifdef NO_LIVENESS_CHECK
     :: true ->
#else
     :: entry[OWNER_OF(w)] == DEAD ->
#endif
        resolve_claim(place, w);
        changed = true
     :: else
     fi
  :: else
  fi
#endif
}

/* Waits for anything that could end a fruitless attempt: a poll without the states of the polling. */
#ifdef NO_RESOLVE
#define WAIT_CHANGE(place, w, index, p) (word[place] != w || index != p)
#else
#define WAIT_CHANGE(place, w, index, p) \
  (word[place] != w || index != p || (OWNER_OF(w) >= 1 && OWNER_OF(w) <= 4 && entry[OWNER_OF(w)] == DEAD))
#endif

inline push(what) {
  do
  :: p = producer_index;
     w = word[p % CAP];
     if
     :: w == W(TURN(p), 0) ->
#ifdef BLIND_CLAIM
        word[p % CAP] = W(TURN(p), me);
        won = true;
#else
        atomic { if :: word[p % CAP] == w -> word[p % CAP] = W(TURN(p), me); won = true :: else -> won = false fi };
#endif
        if
        :: won ->
           if :: true MAY_DIE fi;
           PASS(producer_index, p);
#ifdef PUBLISH_FIRST
           word[p % CAP] = W(TURN(p) + 1, 0);
           item[p % CAP] = what;
#else
           item[p % CAP] = what;
           if :: true MAY_DIE fi;
           word[p % CAP] = W(TURN(p) + 1, 0);
#endif
           break
        :: else
        fi
     :: w != W(TURN(p), 0) && (TURN_OF(w) == TURN(p) || TURN_OF(w) == TURN(p) + 1) ->
        assert(w != W(TURN(p), VOID));   /* nobody pushes after the end here */
        PASS(producer_index, p)
     :: else ->
        resolve(p % CAP, w);
        if
        :: changed
        :: else ->
           if :: WAIT_CHANGE(p % CAP, w, producer_index, p) MAY_DIE fi
        fi
     fi
  od;
  p = 0; w = 0
}

proctype Producer(byte me) {
  byte i, p, w, r;
  bool won, changed;
  i = 1;
  do
  :: i <= EACH -> push(me * 4 + i); i++
  :: else -> break
  od;
dead:
  /* The last one ends the ring. A dead producer is counted off by whoever watches it. */
  atomic {
    producing--;
    if
    :: producing == 0 -> run Ender()
    :: else
    fi
  }
}

proctype Ender() {
  byte p, w, r;
  bool changed;
  do
  :: p = producer_index;
     w = word[p % CAP];
     if
     :: w == W(TURN(p), 0) ->
        atomic { if :: word[p % CAP] == w -> word[p % CAP] = W(TURN(p), VOID); goto ended :: else fi }
     :: w != W(TURN(p), 0) && (TURN_OF(w) == TURN(p) || TURN_OF(w) == TURN(p) + 1) -> PASS(producer_index, p)
     :: else ->
        resolve(p % CAP, w);
        if :: changed :: else -> WAIT_CHANGE(p % CAP, w, producer_index, p) fi
     fi
  od;
ended:
  skip
}

inline consume(c, got) {
  d_step {
    assert(seen[got] == 0);
    seen[got] = 1;
    assert(got % 4 > last[(c - 3) * 4 + got / 4]);
    last[(c - 3) * 4 + got / 4] = got % 4
  }
}

inline pop_all() {
  do
  :: p = consumer_index;
     w = word[p % CAP];
     if
     :: TURN_OF(w) == TURN(p) + 1 && (OWNER_OF(w) == 0 || OWNER_OF(w) == VOID) ->
#ifdef BLIND_CLAIM
        word[p % CAP] = W(TURN(p) + 1, me);
        won = true;
#else
        atomic { if :: word[p % CAP] == w -> word[p % CAP] = W(TURN(p) + 1, me); won = true :: else -> won = false fi };
#endif
        if
        :: won ->
           if :: true MAY_DIE fi;
           PASS(consumer_index, p);
#ifdef EARLY_FREE
           word[p % CAP] = W(TURN(p) + 2, 0);
           got = item[p % CAP];
#else
           got = item[p % CAP];
           if :: true MAY_DIE fi;
           word[p % CAP] = W(TURN(p) + 2, 0);
#endif
           if :: OWNER_OF(w) == 0 -> consume(me, got) :: else fi
        :: else
        fi
     :: TURN_OF(w) == TURN(p) + 1 && OWNER_OF(w) != 0 && OWNER_OF(w) != VOID -> PASS(consumer_index, p)
     :: TURN_OF(w) == TURN(p) && OWNER_OF(w) == VOID -> break
     :: else ->
        resolve(p % CAP, w);
        if
        :: changed
        :: else ->
           if :: WAIT_CHANGE(p % CAP, w, consumer_index, p) MAY_DIE fi
        fi
     fi
  od
}

proctype Consumer(byte me) {
  byte p, w, r, got;
  bool won, changed;
  pop_all();
dead:
  skip
}

/* What happens after a death: a probe, or a successor. */
proctype After() {
  byte me, p, w, r, got, place;
  bool won, changed;
  do
  :: died -> break
  :: !died && word[producer_index % CAP] == W(TURN(producer_index), VOID) -> goto dead
  od;
  if
  :: !lock_held[1] -> me = 1
  :: !lock_held[2] -> me = 2
  :: !lock_held[3] -> me = 3
  :: !lock_held[4] -> me = 4
  fi;
  if
  :: CONSUMERS == 2 || me < 3 -> entry[me] = DEAD      /* the last consumer's work needs a successor */
  :: lock_held[me] = true;
     entry[me] = ATTACHED;
#ifndef NO_SUCCESSION_CHECK
     place = 0;
     do
     :: place < CAP ->
        w = word[place];
        if :: OWNER_OF(w) == me -> resolve_claim(place, w) :: else fi;
        place++
     :: else -> break
     od;
#endif
     /* and it works on; a successor of a producer pops too, in a line of its own */
     if
     :: me >= 3 -> d_step { last[(me - 3) * 4 + 1] = 0; last[(me - 3) * 4 + 2] = 0 }; pop_all()
     :: else
     fi
  fi;
dead:
  skip
}

init {
  byte i, missing;
  atomic {
    word[START % CAP] = W(TURN(START), 0);
    word[(START + 1) % CAP] = W(TURN(START + 1), 0);
    i = 1;
    do :: i <= 4 -> entry[i] = ATTACHED; lock_held[i] = true; i++ :: else -> break od;
    run Producer(1);
    if :: PRODUCERS == 2 -> run Producer(2) :: else fi;
    run Consumer(3);
    if :: CONSUMERS == 2 -> run Consumer(4) :: else fi;
#ifdef DEATH
    run After()
#endif
  }
  _nr_pr == 1;   /* everybody finished */
  d_step {
    missing = 0;
    i = 1;
    do
    :: i <= EACH ->
       if :: seen[4 + i] == 0 -> missing++ :: else fi;
       if :: PRODUCERS == 2 && seen[8 + i] == 0 -> missing++ :: else fi;
       i++
    :: else -> break
    od;
    /* Without a death nothing is missing. A dead producer pushes less, a dead consumer takes one item with it. */
    if
    :: !died -> assert(missing == 0)
    :: else -> assert(missing <= EACH)
    fi
  }
}
