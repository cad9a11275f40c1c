/*
 * The byte ring of docs/ring-layout.md, section 4: frames of 1 to 4 units (of 8 bytes) in 8 units, padding at the wrap, abort, and a
 * producer that dies with an open claim.
 *
 * Checked: the consumer sees exactly the committed frames, whole and in order; never anything beyond the index; a frame
 * within the limit always finds a place (otherwise an invalid end state).
 *
 * run:
 * mutant: DROPPED_RELEASE   the index may become visible before the frame's payload
 * mutant: MISSED_FULL       room is not checked
 * mutant: FORGOT_TAIL       room is checked for the frame but not for the padding before it
 * mutant: NO_PADDING        a frame that doesn't fit before the end is put at the start without a padding frame
 * mutant: TOO_LARGE         frames over half of the capacity are accepted
 */
#define CAP 8
#define MOD 32
#define START 28
#define FRAMES 5
#define PAD 16          /* flag in the length of a header */
#ifdef TOO_LARGE
#define LARGEST 5
#else
#define LARGEST 4       /* half of the capacity */
#endif

byte data[CAP];         /* a header holds the frame's units, further units its number */
byte producer_index = START, consumer_index = START;
byte sent = 0, received = 0;
byte length[FRAMES + 1];
bool closed = false;

#define DIST(a, b) ((a + MOD - b) % MOD)

active proctype Producer() {
  byte at, copy, size, tail, need, unit, start;
  bool died = false;
born:
  at = producer_index;
  copy = consumer_index;
again:
  if
  :: sent == FRAMES -> goto done
  :: else
  fi;
  if
  :: size = 1
  :: size = 2
  :: size = 3
  :: size = LARGEST
  fi;
  d_step {
    tail = CAP - (at % CAP);
    need = size;
    start = at;
    if
    :: size > tail ->
       start = (at + tail) % MOD;
#ifndef FORGOT_TAIL
       need = size + tail
#else
       need = size
#endif
    :: else
    fi
  }
#ifndef MISSED_FULL
  do
  :: CAP - DIST(at, copy) >= need -> break
  :: else ->
     consumer_index != copy;      /* full: poll */
     copy = consumer_index
  od;
#endif
  if
  :: start != at ->
#ifndef NO_PADDING
     data[at % CAP] = PAD + tail
#else
     skip
#endif
  :: else
  fi;
  /* The claim is open. It may be aborted, or its owner may die: nothing was published. */
  if
  :: goto write
  :: !died -> died = true; data[start % CAP] = 7; goto born
  :: !died -> died = true; goto again
  fi;
write:
#ifdef DROPPED_RELEASE
  skip;
  d_step { length[sent + 1] = size; data[start % CAP] = size; sent++; producer_index = (start + size) % MOD };
  unit = 1;
  do
  :: unit < size -> data[(start + unit) % CAP] = sent; unit++
  :: else -> break
  od;
#else
  unit = 1;
  do
  :: unit < size -> data[(start + unit) % CAP] = sent + 1; unit++
  :: else -> break
  od;
  data[start % CAP] = size;
  d_step { length[sent + 1] = size; sent++; producer_index = (start + size) % MOD };
#endif
  at = (start + size) % MOD;
  goto again;
done:
  closed = true
}

active proctype Consumer() {
  byte at = START, copy = START, size, unit;
  do
  :: at == copy ->
     if
     :: producer_index != at -> copy = producer_index
     :: closed && producer_index == at -> break
     fi
  :: else ->
     size = data[at % CAP];
     if
     :: size > PAD ->
        size = size - PAD;
        assert(size == CAP - (at % CAP) && size <= DIST(copy, at))
     :: else ->
        assert(size >= 1 && size <= LARGEST && size <= DIST(copy, at) && size <= CAP - (at % CAP));
        assert(size == length[received + 1]);
        unit = 1;
        do
        :: unit < size -> assert(data[(at + unit) % CAP] == received + 1); unit++
        :: else -> break
        od;
        received++
     fi;
     at = (at + size) % MOD;
     consumer_index = at
  od;
  assert(received == FRAMES && sent == FRAMES)
}
