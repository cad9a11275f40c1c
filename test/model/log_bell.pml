/*
 * Sleeping for news of a topic (docs/log-format.md: Parked, Bells; appender.cc, bells.cc, loop_bell.cc, waiter.cc): two publishers, an event loop that sleeps by its bell, and
 * a thread that sleeps on the futex. Nobody looks up by the clock, and each publisher rings: checked is that none of the two sleeps for ever beside a message that it
 * has not seen. Their heavy barrier is this model's sequential consistency.
 *
 * run:
 * mutant: ARMED_LATE        the loop makes `parked` odd, and arms its bell after that
 * mutant: NO_SECOND_LOOK    it sleeps without a look once it is armed
 * mutant: RUNG_FIRST        a publisher rings the bells before it makes `parked` even
 * mutant: CLEARED_LATE      a publisher rings those that it finds armed, and takes the bits after that
 * mutant: EVEN_ONLY         a publisher that found `parked` odd wakes nobody if another one was armed by then
 */
#define MESSAGES 2                 /* of each publisher */
#define ALL (2 * MESSAGES)

byte messages = 0;                 /* committed */
byte parked = 0;                   /* odd: somebody sleeps, or is about to */
bool armed = false;                /* the loop's bit */
byte rung = 0;                     /* what waits in the bell's socket */
bool futex_sleeps = false;
byte seen_by_loop = 0;
byte seen_by_thread = 0;

inline ring_armed() {
#ifdef CLEARED_LATE
  taken = armed;
  if
  :: taken -> rung++
  :: else
  fi;
  armed = false
#else
  atomic { taken = armed; armed = false };
  if
  :: taken -> rung++
  :: else
  fi
#endif
}

proctype Publisher() {
  byte i = 0, before;
  bool taken, swapped;
  do
  :: i == MESSAGES -> break
  :: else ->
     i++;
     messages++;
     before = parked;
     if
     :: before % 2 == 1 ->
#ifdef RUNG_FIRST
        ring_armed();
#endif
        atomic {
          swapped = (parked == before);
          if
          :: swapped -> parked = before + 1
          :: else
          fi
        };
        if
        :: swapped ->
#ifdef EVEN_ONLY
           if
           :: armed -> skip
           :: else -> atomic { if :: futex_sleeps -> futex_sleeps = false :: else fi }
           fi
#else
#ifndef RUNG_FIRST
           ring_armed();
#endif
           atomic { if :: futex_sleeps -> futex_sleeps = false :: else fi }
#endif
        :: else
        fi
     :: else
     fi
  od
}

proctype Loop() {
  do
  :: seen_by_loop == ALL -> break
  :: else ->
     if
     :: seen_by_loop < messages -> seen_by_loop = messages
     :: else ->
#ifdef ARMED_LATE
        parked = parked | 1;
        if
        :: seen_by_loop < messages -> goto again
        :: else
        fi;
        armed = true;
#else
        armed = true;
        parked = parked | 1;
#endif
#ifndef NO_SECOND_LOOK
#ifndef ARMED_LATE
        if
        :: seen_by_loop < messages -> goto again
        :: else
        fi;
#endif
#endif
        atomic { rung > 0 -> rung = 0 }
     fi;
again: skip
  od
}

proctype Thread() {
  byte ticket;
  do
  :: seen_by_thread == ALL -> break
  :: else ->
     if
     :: seen_by_thread < messages -> seen_by_thread = messages
     :: else ->
        atomic { parked = parked | 1; ticket = parked };
        if
        :: seen_by_thread < messages -> skip
        :: else ->
           /* FUTEX_WAIT: sleeps if the word is as it was, in one step */
           atomic {
             if
             :: parked == ticket -> futex_sleeps = true
             :: else
             fi
           };
           !futex_sleeps
        fi
     fi
  od
}

init {
  atomic {
    run Publisher();
    run Publisher();
    run Loop();
    run Thread()
  }
}
