/*
 * The SPSC ring of docs/ring-layout.md, sections 3 and 6: cached copies, wrap of the index, close, and the death of either side
 * at any step followed by a successor.
 *
 * Checked: every published item is consumed, in order, whole; again only after a consumer's death; nothing after the end;
 * nobody hangs (an invalid end state).
 *
 * A dropped release is modelled by its effect: the store that should come last may come first.
 *
 * run:
 * run: DEATHS=2
 * mutant: DROPPED_RELEASE        the producer's index may become visible before the item
 * mutant: DROPPED_CONSUMER_RELEASE  the consumer's index may become visible before its read
 * mutant: MISSED_FULL            the producer doesn't look whether the ring is full
 * mutant: NO_SECOND_LOOK         the end is believed without looking at the index once more
 * mutant: STALE_COPY DEATHS=1    a successor keeps a copy of its own making
 */
#ifndef DEATHS
#define DEATHS 0
#endif
#define CAP 2
#define MOD 8           /* indices count modulo this, as 32-bit ones do modulo 2^32 */
#define START 6
#define ITEMS 5
#define ATTACHED 1
#define CLOSED 2

byte slot[CAP];
byte producer_index = START, consumer_index = START;
byte published = 0;     /* items 1..published were pushed; survives the producer */
byte consumed = 0;      /* items 1..consumed were popped; survives the consumer */
byte producer_state = ATTACHED;
byte deaths = DEATHS;

#define DIST(a, b) ((a + MOD - b) % MOD)
#define STORE_PRODUCER_INDEX d_step { producer_index = (at + 1) % MOD; published++ }
#define STORE_CONSUMER_INDEX d_step { consumer_index = (at + 1) % MOD; consumed++ }
#define MAY_DIE(label) :: atomic { deaths > 0 -> deaths--; goto label }

active proctype Producer() {
  byte at, copy;
born:
  at = producer_index;
#ifdef STALE_COPY
  copy = at;
#else
  copy = consumer_index;
#endif
again:
  if
  :: published == ITEMS -> goto done
  MAY_DIE(born)
  :: published < ITEMS
  fi;
#ifndef MISSED_FULL
  if
  :: DIST(at, copy) == CAP ->
     if
     :: consumer_index != copy -> copy = consumer_index
     MAY_DIE(born)
     fi
  :: else
  fi;
#endif
#ifdef DROPPED_RELEASE
  if
  :: STORE_PRODUCER_INDEX; slot[at % CAP] = published
  :: slot[at % CAP] = published + 1; STORE_PRODUCER_INDEX
  fi;
#else
  slot[at % CAP] = published + 1;
  if
  :: true
  MAY_DIE(born)
  fi;
  STORE_PRODUCER_INDEX;
#endif
  at = (at + 1) % MOD;
  goto again;
done:
  producer_state = CLOSED
}

active proctype Consumer() {
  byte at, copy, item, state;
born:
  at = consumer_index;
  copy = producer_index;
again:
  if
  MAY_DIE(born)
  :: true
  fi;
  if
  :: at == copy ->
     copy = producer_index;
     if
     :: at == copy ->
        state = producer_state;
        if
        :: state == CLOSED ->
#ifndef NO_SECOND_LOOK
           copy = producer_index;
#endif
           if
           :: at == copy -> goto ended
           :: else
           fi
        :: else ->
           producer_index != at || producer_state == CLOSED;   /* poll */
           goto again
        fi
     :: else
     fi
  :: else
  fi;
  assert(DIST(copy, at) <= CAP);
#ifdef DROPPED_CONSUMER_RELEASE
  if
  :: STORE_CONSUMER_INDEX; item = slot[at % CAP]; assert(item == consumed)
  :: item = slot[at % CAP]; assert(item == consumed + 1); STORE_CONSUMER_INDEX
  fi;
#else
  item = slot[at % CAP];
  assert(item == consumed + 1);
  if
  :: true
  MAY_DIE(born)
  fi;
  STORE_CONSUMER_INDEX;
#endif
  at = (at + 1) % MOD;
  goto again;
ended:
  assert(consumed == ITEMS && published == ITEMS)
}
