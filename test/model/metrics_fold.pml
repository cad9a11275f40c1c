/*
 * Counting and folding in the metrics file (docs/metrics-format.md: Cells, Folding, Reading): a publisher counts between claim and commit, and may die at
 * any step; two processes fold its cell, and each of them may die at any step; a third one, which does not die, ends what they began.
 *
 * Checked: the totals are the messages and bytes that were committed, exactly; a reader never sees them fall, nor more than was counted.
 *
 * run:
 * run: ORDERLY
 * run: READER
 * mutant: COUNT_AFTER          counts after the commit
 * mutant: ONE_RECORD           has one record, and no whole one while it writes that
 * mutant: MESSAGES_FIRST       stores the number of messages before the bytes and the place
 * mutant: NO_FATE              does not look at what became of the last claim
 * mutant: ADD_AGAIN            the intent says what is to be added, not what the totals will be
 * mutant: NO_REDO              who takes the lock does not look at the intent
 * mutant: FREE_FIRST           frees the cell before the intent is armed
 * mutant: NO_GENERATION READER a reader does not look at the generation
 */
#ifdef READER                      /* one more process multiplies the states: fewer messages */
#define MESSAGES 2
#else
#define MESSAGES 3
#endif

mtype = { nothing, claim, data, void };
mtype log[3];                      /* message n is at place n - 1, and has n + 1 bytes */
byte rec_messages[2], rec_bytes[2], rec_place[2];
bool in_use = true;                /* the cell */
bool orderly = false;               /* in order */
bool alive = true;                 /* the publisher's lock */

bool book = false;                 /* the book lock */
byte total_messages = 0, total_bytes = 0;
bool armed = false;
byte intent_messages, intent_bytes;
byte generation = 0;
byte folders = 2;                  /* that may still begin or die */
byte committed = 0, committed_bytes = 0;

#define LOCK atomic { !book -> book = true }
#define UNLOCK book = false

proctype Publisher() {
  byte n = 0, sum = 0, half = 0;
  do
  :: n == MESSAGES ->
#ifdef ORDERLY
     atomic { orderly = true; alive = false };
#else
     alive = false;
#endif
     break
  :: alive = false; break          /* killed before the claim */
  :: n < MESSAGES ->
     log[n] = claim;
     if :: true :: alive = false; break fi;
#ifdef COUNT_AFTER
     atomic { log[n] = data; committed++; committed_bytes = committed_bytes + n + 2 };
     if :: true :: alive = false; break fi;
#endif
     sum = sum + n + 2;
#ifndef ONE_RECORD
     half = 1 - half;
#endif
#ifdef MESSAGES_FIRST
     rec_messages[half] = n + 1;
     if :: true :: alive = false; break fi;
#endif
     rec_bytes[half] = sum;
     if :: true :: alive = false; break fi;
     rec_place[half] = n;
     if :: true :: alive = false; break fi;
     rec_messages[half] = n + 1;
     if :: true :: alive = false; break fi;
#ifndef COUNT_AFTER
     atomic { log[n] = data; committed++; committed_bytes = committed_bytes + n + 2 };
#endif
     n++
  od
}

/* Whoever meets a dead publisher's claim makes it void: before the fold, after it, or never. */
proctype Repairer() {
  byte i = 0;
  !alive;
  do
  :: i == MESSAGES -> break
  :: i < MESSAGES ->
     if
     :: atomic { log[i] == claim -> log[i] = void }
     :: true
     fi;
     i++
  od
}

#define DIE_OR_GO_ON if :: true :: atomic { mortal -> book = false; goto over } fi

inline finish() {
  if
  :: armed ->
     atomic { if :: generation % 2 == 0 -> generation++ :: else fi };
     DIE_OR_GO_ON;
#ifdef ADD_AGAIN
     total_messages = total_messages + intent_messages;
     DIE_OR_GO_ON;
     total_bytes = total_bytes + intent_bytes;
#else
     total_messages = intent_messages;
     DIE_OR_GO_ON;
     total_bytes = intent_bytes;
#endif
     DIE_OR_GO_ON;
     in_use = false;
     DIE_OR_GO_ON;
     atomic { if :: generation % 2 == 1 -> generation++ :: else fi };
     DIE_OR_GO_ON;
     armed = false
  :: else
  fi
}

proctype Folder(bool mortal) {
  byte newer, m, b;
  if :: mortal :: else -> folders == 0 && !alive fi;   /* the last one comes when all is over */
  LOCK;
#ifndef NO_REDO
  finish();
#endif
  DIE_OR_GO_ON;
  if
  :: in_use && !alive ->
     newer = (rec_messages[1] > rec_messages[0] -> 1 : 0);
#ifndef NO_FATE
     if
     :: !orderly && rec_messages[newer] > 0 && log[rec_place[newer]] != data -> newer = 1 - newer
     :: else
     fi;
#endif
     m = rec_messages[newer];
     b = rec_bytes[newer];
#ifdef ADD_AGAIN
     intent_messages = m;
     intent_bytes = b;
#else
     intent_messages = total_messages + m;
     DIE_OR_GO_ON;
     intent_bytes = total_bytes + b;
#endif
     DIE_OR_GO_ON;
#ifdef FREE_FIRST
     in_use = false;
     DIE_OR_GO_ON;
#endif
     armed = true;
     DIE_OR_GO_ON;
     finish()
  :: else
  fi;
  UNLOCK;
over:
  atomic { m = 0; b = 0; newer = 0; if :: mortal -> folders-- :: else fi };
  if
  :: !mortal ->
     assert(in_use == false && armed == false);
     assert(total_messages == committed && total_bytes == committed_bytes)
  :: else
  fi
}

/* Reads twice. Of the cell it takes the record with more messages, as it stands there: the last one counted may not be committed yet. */
proctype Reader() {
  byte g, t, c, sum, before = 0, looks = 0;
  do
  :: looks == 2 -> break
  :: else ->
     g = generation;
     t = total_messages;
     c = 0;
     if
     :: in_use ->
        atomic { c = (rec_messages[1] > rec_messages[0] -> rec_messages[1] : rec_messages[0]) }
     :: else
     fi;
#ifndef NO_GENERATION
     if
     :: g % 2 == 0 && generation == g ->
#else
     if
     :: true ->
#endif
        sum = t + c;
        assert(sum <= committed + 1 || alive == false);
        assert(sum <= MESSAGES);
        /* the one that was not committed may be taken back when its publisher is found dead */
        assert(sum + 1 >= before);
        before = sum
     :: else
     fi;
     atomic { g = 0; t = 0; c = 0; sum = 0; looks++ }
  od
}

init {
  atomic {
    log[0] = nothing; log[1] = nothing; log[2] = nothing;
    run Publisher(); run Repairer(); run Folder(true); run Folder(true); run Folder(false)
#ifdef READER
    ; run Reader()
#endif

  }
}
