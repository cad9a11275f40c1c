/*
 * Claim, settle and takeover of a consumer group (docs/group-format.md): members take sequences from `next`, enter them by a compare-and-swap of the entry's word,
 * settle by exchanging the very word that they wrote, and raise `floor`. One member may die at any step, or be stopped at any step and be taken for
 * late; a looker then returns what it holds, and enters what it has taken and not entered. Entries are used again, lap after lap.
 *
 * Checked: each sequence is settled exactly once; none is passed by `floor` without being settled; a member that does not die and is not late loses
 * nothing that it claimed, so that a message is with two members only if one of them was overtaken; at the end everything is settled (else nobody can
 * go on: an invalid end state, or the last assertion).
 *
 * run:
 * run: DEATH
 * run: LATE
 * mutant: NO_FENCE LATE            settling does not compare the member and the number of the claim
 * mutant: NO_SECOND_LOOK           who raised `floor` does not look at the next entry again
 * mutant: NO_LAP LATE              who enters takes any word that is not of his lap for one that is left from the lap before
 * mutant: NO_FLOOR_CHECK LATE      who finds an entry missing does not look whether `floor` has passed it
 * mutant: NO_MISSING DEATH         nobody enters what a dead member has taken and not entered
 * mutant: NO_LIVENESS              a looker takes from members that are neither dead nor late
 * mutant: STORE_ENTRY LATE         an entry is stored, and not exchanged
 */
#define W 2                        /* the window */
#ifdef LATE                        /* one that goes on after it was overtaken multiplies the states: fewer messages, none given back */
#define LAST 3
#define MAY_GIVE_BACK false
#else
#define LAST 4                     /* sequences 0 .. LAST - 1 */
#define MAY_GIVE_BACK !given_back
#endif
#define LAP(s) ((s) / W)

mtype = { nothing, claimed, settled, returned };

/* One 64-bit word each. `number` stands for the number of the claim. */
mtype state[W];
byte member[W], lap[W], number[W];

byte next = 0, floor = 0;
bool alive[3], late[3];
byte settled_times[LAST];
byte numbers = 0;                  /* no two claims have the same one */
byte running = 2;                  /* members that may still do something */
bool spent = false;                /* the one accident has happened */
bool given_back = false;           /* and the one return, lest the states have no end */

#define AT(s) ((s) % W)
#define OURS(s) (state[AT(s)] != nothing && lap[AT(s)] == LAP(s))
#define LEFT(s) (state[AT(s)] == nothing || (state[AT(s)] == settled && lap[AT(s)] + 1 == LAP(s)))
#define SETTLED(s) (state[AT(s)] == settled && lap[AT(s)] == LAP(s))

#ifdef DEATH
#define ACCIDENT :: atomic { !spent && me == 1 -> spent = true; alive[me] = false; goto dead }
#elif defined(LATE)
/* Stopped for as long as it pleases: others see its lease over from here on; it goes on and knows nothing. */
#define ACCIDENT :: atomic { !spent && me == 1 -> spent = true; late[me] = true }
#else
#define ACCIDENT
#endif
#define STEP if :: true ACCIDENT fi

/* Compare-and-swap of the entry of `s` from what was seen before. */
inline remember(s) { atomic { w_state = state[AT(s)]; w_member = member[AT(s)]; w_lap = lap[AT(s)]; w_number = number[AT(s)] } }
#define SAME(s) (state[AT(s)] == w_state && member[AT(s)] == w_member && lap[AT(s)] == w_lap && number[AT(s)] == w_number)

inline raise_floor() {
  do
  :: f = floor;
     n = next;
     if
     :: f < n && SETTLED(f) ->
        atomic {
          if
          :: floor == f -> assert(settled_times[f] == 1); floor = f + 1
          :: else
          fi
        };
#ifdef NO_SECOND_LOOK
        break
#endif
     :: else -> break
     fi
  od;
  atomic { f = 0; n = 0 }
}

proctype Member(byte me) {
  byte s, f, n, mine;
  mtype w_state;
  byte w_member, w_lap, w_number;
  bool won;
start:
  atomic { s = 0; won = false; mine = 0; w_state = 0; w_member = 0; w_lap = 0; w_number = 0 };
  do
  :: floor >= LAST -> break
  :: next < LAST && next - floor < W ->
     /* claim a new one; who comes to claim is not late */
     atomic { late[me] = false; s = next };
     if
     :: s < LAST && s - floor < W ->
        STEP;
        atomic { won = (next == s); if :: won -> next = s + 1 :: else fi };
        STEP;
        if
        :: won ->
           remember(s);
           if
#ifdef NO_LAP
           :: !(w_state != nothing && w_lap == LAP(s)) ->
#else
           :: w_state == nothing || (w_state == settled && w_lap + 1 == LAP(s)) ->
#endif
              STEP;
              atomic {
                numbers++;
                mine = numbers;
#ifdef STORE_ENTRY
                won = true;
#else
                won = SAME(s);
#endif
                if
                :: won -> state[AT(s)] = claimed; member[AT(s)] = me; lap[AT(s)] = LAP(s); number[AT(s)] = mine
                :: else
                fi
              }
           :: else -> won = false
           fi
        :: else
        fi
     :: else -> won = false
     fi;
     goto handle
  :: (OURS(floor) && floor < LAST && state[AT(floor)] == returned) || (floor + 1 < LAST && OURS(floor + 1) && state[AT(floor + 1)] == returned) ->
     /* claim one again */
     atomic {
       late[me] = false;
       s = floor;
       if
       :: s < LAST && OURS(s) && state[AT(s)] == returned
       :: s + 1 < LAST && OURS(s + 1) && state[AT(s + 1)] == returned -> s++
       :: else -> goto start
       fi
     };
     remember(s);
     won = false;
     if
     :: w_state == returned && w_lap == LAP(s) ->
        STEP;
        atomic {
          numbers++;
          mine = numbers;
          won = SAME(s);
          if
          :: won -> state[AT(s)] = claimed; member[AT(s)] = me; number[AT(s)] = mine
          :: else
          fi
        }
     :: else
     fi;
     goto handle
  od;
  goto dead;
handle:
  if
  :: won ->
     STEP;
     /* settle, or return */
     if
     :: atomic {
#ifdef NO_FENCE
          won = (state[AT(s)] == claimed && lap[AT(s)] == LAP(s));
#else
          won = (state[AT(s)] == claimed && lap[AT(s)] == LAP(s) && member[AT(s)] == me && number[AT(s)] == mine);
#endif
          assert(won || late[me]);
          if
          :: won ->
             state[AT(s)] = settled; member[AT(s)] = 0; number[AT(s)] = 0;
             settled_times[s]++;
             assert(settled_times[s] == 1)
          :: else
          fi
        };
        STEP;
        /* once more only where it could be moved: as raise_floor_if_settled */
        raise_floor()
     :: atomic {
          MAY_GIVE_BACK && state[AT(s)] == claimed && lap[AT(s)] == LAP(s) && member[AT(s)] == me && number[AT(s)] == mine ->
          given_back = true; state[AT(s)] = returned; member[AT(s)] = 0; number[AT(s)] = 0
        }
     fi
  :: else
  fi;
  goto start;
dead:
  running--
}

#ifdef NO_LIVENESS
#define GONE(m) true
#else
#define GONE(m) (!alive[m] || late[m])
#endif
#define HELD(s) ((s) < next && OURS(s) && state[AT(s)] == claimed && GONE(member[AT(s)]))
#define MISSING(s) ((s) < next && (s) >= floor && !OURS(s))

#ifdef NO_FLOOR_CHECK
#define NOT_PASSED(s) true
#else
#define NOT_PASSED(s) (floor <= (s))
#endif

/* Whoever looks: a member between two claims, or one that sleeps. */
proctype Looker() {
  byte s, f, n;
  mtype w_state;
  byte w_member, w_lap, w_number;
  do
  :: floor >= LAST -> break
  :: floor < LAST && (HELD(floor) || (floor + 1 < LAST && HELD(floor + 1))) ->
     s = floor;
     if
     :: s < LAST && HELD(s)
     :: s + 1 < LAST && HELD(s + 1) -> s++
     :: else -> goto over
     fi;
     remember(s);
     if
     :: w_state == claimed && w_lap == LAP(s) && GONE(w_member) ->
        atomic {
          if
          :: SAME(s) -> state[AT(s)] = returned; member[AT(s)] = 0; number[AT(s)] = 0
          :: else
          fi
        }
     :: else
     fi;
over:
     atomic { s = 0; w_state = 0; w_member = 0; w_lap = 0; w_number = 0 }
#ifdef DEATH
  /* who settled it died before he raised `floor` */
  :: spent && floor < LAST && floor < next && SETTLED(floor) -> raise_floor()
#endif
#ifndef NO_MISSING
  :: spent && floor < LAST && (MISSING(floor) || (floor + 1 < LAST && MISSING(floor + 1))) ->
     s = floor;
     if
     :: s < LAST && MISSING(s)
     :: s + 1 < LAST && MISSING(s + 1) -> s++
     :: else -> goto entered
     fi;
     remember(s);
     if
     :: !(w_state != nothing && w_lap == LAP(s)) && NOT_PASSED(s) ->
        atomic {
          if
          :: SAME(s) -> state[AT(s)] = returned; member[AT(s)] = 0; lap[AT(s)] = LAP(s); number[AT(s)] = 0
          :: else
          fi
        }
     :: else
     fi;
entered:
     atomic { s = 0; w_state = 0; w_member = 0; w_lap = 0; w_number = 0 }
#endif
  od
}

init {
  byte i;
  atomic {
    i = 0;
    do :: i < W -> state[i] = nothing; i++ :: else -> break od;
    alive[1] = true;
    alive[2] = true;
    run Member(1);
    run Member(2);
    run Looker()
  }
  _nr_pr == 1;
  assert(floor == LAST);
  i = 0;
  do :: i < LAST -> assert(settled_times[i] == 1); i++ :: else -> break od
}
