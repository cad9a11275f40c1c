/*
 * Syncs in the log (docs/log-format.md: A failed sync; syncer.cc, recovery.cc, rewrite.cc): two syncers in two processes write pages out under the sync lock and
 * raise one mark. A write may fail: the kernel tells one of them, once, and takes the page for clean. One of them may die at any step. When both have closed, a recovery
 * writes the pages anew and clears the note; it may fail or die, too, and is then followed by another one. The power may fail at any moment: checked is that the mark
 * never vouches for a page that is not on the disk.
 *
 * One publisher's death between the kernel's answer and its note is left out: who opened the file before is told by the kernel, too.
 *
 * run:
 * run: DEATH
 * mutant: NO_RECHECK           who gets the lock does not look for a failure that another one noted
 * mutant: NOT_NOTED            a failure is told to who asked, and not noted
 * mutant: NOTED_LATE           a failure is noted when the lock has been given back
 * mutant: CLEARED_FIRST DEATH  recovery clears the note before it has written the pages anew
 * mutant: SAME_PAGES           recovery syncs the pages that are there, in place of writing new ones
 * mutant: NO_SYNC_LOCK         recovery does not wait for a sync that is under way
 */
#define PAGES 3

bool dirty[PAGES];                 /* the kernel will write it at the next sync */
bool on_disk[PAGES];
byte written = 0;                  /* pages [0, written) hold committed messages */
byte mark = 0;                     /* pages [0, mark) are said to be safe */
bool failure = false;              /* the note in the control file */
bool sync_lock = false;
byte publishers = 2;               /* syncers that are open */
byte failures = 2;                 /* the disk fails so often at most */
bool may_die = true;
byte answered = 0;                 /* the furthest that anybody was told */

/* What a power cut now would leave is always enough. */
#define SAFE(i) (i >= mark || on_disk[i])
#define CHECK assert(SAFE(0) && SAFE(1) && SAFE(2) && answered <= mark)

#ifdef DEATH
#define MAY_DIE(label) :: may_die -> may_die = false; goto label
#else
#define MAY_DIE(label)
#endif

/* fdatasync: writes pages [0, upto). One of them may fail: it's clean then, and lost; the caller is told. */
inline sync_pages(upto, failed) {
  d_step {
    failed = false;
    i = 0;
    do
    :: i < upto -> if :: dirty[i] -> dirty[i] = false; on_disk[i] = true :: else fi; i++
    :: else -> break
    od;
    i = 0
  }
}

inline sync_pages_badly(upto, failed) {
  d_step {
    failed = false;
    i = 0;
    do
    :: i < upto ->
       if
       :: dirty[i] && !failed -> dirty[i] = false; failed = true; failures--
       :: dirty[i] && failed -> dirty[i] = false; on_disk[i] = true
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0
  }
}

proctype Syncer() {
  byte upto = 0, i = 0, syncs = 0;
  bool failed = false;
  do
  :: syncs == 2 -> break
  :: syncs < 2 ->
     syncs++;
     /* publishes a message, perhaps */
     if
     :: atomic { written < PAGES -> dirty[written] = true; written++ }
     :: true
     fi;
     /* and may close without a sync */
     if
     :: true -> break
     :: atomic { !sync_lock -> sync_lock = true }
     fi;
#ifndef NO_RECHECK
     if
     :: failure -> sync_lock = false; break
     :: else
     fi;
#endif
     upto = written;
     if
     :: sync_pages(upto, failed)
     :: failures > 0 -> sync_pages_badly(upto, failed)
     fi;
     if
     :: failed ->
#ifdef NOT_NOTED
        sync_lock = false
#else
#ifdef NOTED_LATE
        sync_lock = false;
        failure = true
#else
        failure = true;
        if
        MAY_DIE(dead)
        :: true
        fi;
        sync_lock = false
#endif
#endif
     :: else ->
        if
        MAY_DIE(dead)
        :: true
        fi;
        /* The one who holds the lock may find it raised by nobody else meanwhile. */
        atomic {
          if
          :: mark < upto -> mark = upto
          :: else
          fi;
          CHECK
        };
        atomic { answered = (answered < upto -> upto : answered); CHECK };
        sync_lock = false
     fi
  od;
  publishers--;
  goto done;
dead:
  /* The kernel gives the locks of the dead back. */
  atomic { sync_lock = false; publishers-- };
done:
  skip
}

/* A publisher that closes may leave a sync under way: it counts as closed, and holds the sync lock. */
proctype Straggler() {
  byte upto = 0, i = 0;
  bool failed = false;
  atomic { !sync_lock -> sync_lock = true };
  upto = written;
  publishers--;
  if
  :: failure -> skip
  :: else ->
     if
     :: sync_pages(upto, failed)
     :: failures > 0 -> sync_pages_badly(upto, failed)
     fi;
     if
     :: failed -> failure = true
     :: else -> atomic { if :: mark < upto -> mark = upto :: else fi; CHECK }
     fi
  fi;
  sync_lock = false
}

proctype Recovery() {
  byte i = 0;
  bool failed = false;
again:
  publishers == 0;
#ifndef NO_SYNC_LOCK
  atomic { !sync_lock -> sync_lock = true };
#endif
  if
  :: failure ->
#ifdef CLEARED_FIRST
     failure = false;
#endif
     if
     MAY_DIE(dead)
     :: true
     fi;
     /* What memory shows is written to new files, which hold nothing of the old ones. */
#ifndef SAME_PAGES
     d_step {
       i = mark;
       do
       :: i < written -> dirty[i] = true; i++
       :: else -> break
       od;
       i = 0
     };
#endif
     if
     MAY_DIE(dead)
     :: true
     fi;
     if
     :: sync_pages(written, failed)
     :: failures > 0 -> sync_pages_badly(written, failed)
     fi;
     if
     :: failed ->
#ifndef CLEARED_FIRST
        assert(failure);
#else
        failure = true;
#endif
#ifndef NO_SYNC_LOCK
        sync_lock = false;
#endif
        goto again
     :: else
     fi;
     if
     MAY_DIE(dead)
     :: true
     fi;
     atomic { mark = written; CHECK };
     if
     MAY_DIE(dead)
     :: true
     fi;
     failure = false
  :: else -> skip
  fi;
  /* Opened: it publishes a message, and syncs as everybody does. */
  if
  :: atomic { written < PAGES -> dirty[written] = true; written++ }
  :: true
  fi;
  if
  :: failure -> skip
  :: else ->
     if
     :: sync_pages(written, failed)
     :: failures > 0 -> sync_pages_badly(written, failed)
     fi;
     if
     :: failed -> failure = true
     :: else -> atomic { mark = written; CHECK }
     fi
  fi;
#ifndef NO_SYNC_LOCK
  sync_lock = false;
#endif
  goto done;
dead:
#ifndef NO_SYNC_LOCK
  sync_lock = false;
#endif
  goto again;
done:
  skip
}

init {
  atomic {
    publishers = 3;
    run Syncer();
    run Syncer();
    run Straggler();
    run Recovery()
  }
}
