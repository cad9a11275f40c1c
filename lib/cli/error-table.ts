import type { ErrorCode } from '../base/errors.js'
import type { ExitCode } from './exit-codes.js'

/** What an error code says, in Markdown, and the exit code of a command that ends with it. */
export interface ErrorEntry {
  readonly happened: string
  readonly remedy: string
  readonly exit: ExitCode
}

/**
 * The one table of errors. The exit codes of `hermes` are from here, and docs/errors.md prints it (`node scripts/error-table.mjs`). The type makes the
 * compiler ask for an entry when an error code is added.
 */
export const errorTable: Readonly<Record<ErrorCode, ErrorEntry>> = {
  INVALID_ARGUMENT: {
    happened: 'A value of the wrong type or out of range was given.',
    remedy: 'Correct the call; the message names the option and what it takes.',
    exit: 2,
  },
  UNKNOWN_OPTION: {
    happened: 'An option does not exist.',
    remedy: 'Look at `details.likely`: the option that was probably meant.',
    exit: 2,
  },
  INVALID_NAME: {
    happened: 'A topic, ring or `shm:` name is outside of the alphabet or too long.',
    remedy: 'Use 1 to 128 of `A-Z a-z 0-9 . _ -`, not beginning with `.` or `-`. Never make names of untrusted text.',
    exit: 2,
  },
  UNSUPPORTED: {
    happened: "The placement, the platform or the kernel can't do this.",
    remedy: 'Use another placement; the message says what is missing.',
    exit: 1,
  },
  CLOSED: {
    happened: 'The object was closed before this call, or memory behind a view was released.',
    remedy: 'Make a new one. Copy what you keep of a message inside the handler.',
    exit: 1,
  },
  ABORTED: {
    happened: 'The `AbortSignal` of a waiting call fired.',
    remedy: "Nothing: you asked for it. What was published stays published; `cause` is the signal's reason.",
    exit: 1,
  },
  BUSY: {
    happened:
      "The object is in use: `poll` within a handler, two iterations of one subscriber, a publish within a batch, a push or pop of a ring by code that its own push or pop runs (a getter, `toJSON`, a handler). Or a topic's file `locks` was removed while it is open.",
    remedy:
      'Make another subscriber or publisher, or wait for the first use to end. Where `locks` was removed, close the topic everywhere, then open it again.',
    exit: 9,
  },
  PAYLOAD_TOO_LARGE: {
    happened: "The encoded value is larger than the topic's `maxPayloadBytes`. Nothing was published.",
    remedy: 'Send less, or make a topic with a larger limit (at most a quarter of `segmentBytes`).',
    exit: 7,
  },
  ENCODE_FAILED: {
    happened: "The codec can't represent the value. Nothing was published.",
    remedy: 'Correct the value; for structs the message names the field.',
    exit: 7,
  },
  DECODE_FAILED: {
    happened: 'The payload is no value of the codec. The message counts as consumed.',
    remedy: 'Call `poll` again to go on behind it; look for the program that published it.',
    exit: 7,
  },
  VALIDATION_FAILED: {
    happened: 'The attached validator refused the value, or a message has no key in a keyed group.',
    remedy: 'Look at `details.issues`.',
    exit: 7,
  },
  CODEC_MISMATCH: {
    happened: 'The topic was made with another codec or struct layout.',
    remedy: 'Use the codec it was made with (`details.found`), or another topic.',
    exit: 8,
  },
  TOPIC_DELETED: {
    happened:
      'The topic was [deleted](administration.md) while it was open here. Messages that were not acknowledged are gone with it.',
    remedy: 'Close what is open, and open a topic anew: the name is free, or another topic has it.',
    exit: 3,
  },
  NOT_FOUND: {
    happened:
      'The directory or topic does not exist, and making it was not asked for; or a symbolic link leads nowhere.',
    remedy: 'Check the path or the name, or leave `create: false` out.',
    exit: 3,
  },
  ACCESS_DENIED: {
    happened:
      'This user may not read or write the files, or nothing can be made in this file system (`/proc`, read-only).',
    remedy:
      'Run as their owner, have the directory made with a wider `mode`, mount the file system for writing, or choose another place.',
    exit: 4,
  },
  NOT_A_DIRECTORY: {
    happened: 'A file, a pipe or a device stands where a directory is needed, or symbolic links lead in a circle.',
    remedy: 'Choose another path, or move the file away.',
    exit: 3,
  },
  NOT_HERMES: {
    happened: 'The directory or file holds something else. It was left alone.',
    remedy: 'Choose a new or an empty directory.',
    exit: 3,
  },
  VERSION_MISMATCH: {
    happened: 'The files were written in a newer format.',
    remedy: 'Use a newer version of hermes-mq.',
    exit: 8,
  },
  CONFIG_MISMATCH: {
    happened: 'The topic exists with other fixed settings.',
    remedy: 'Leave the option out, or give the value in `details.found`.',
    exit: 8,
  },
  NATIVE_UNAVAILABLE: {
    happened: 'This needs the native addon. None for this platform was found, or it does not load.',
    remedy:
      'Follow the message: build it from source, or set `HERMES_NATIVE`. [Connections to brokers](api.md#without-the-addon) work without.',
    exit: 1,
  },
  CORRUPT: {
    happened: 'Bytes in the log are damaged; nothing beyond the damage was delivered.',
    remedy:
      "Go on behind it with `onDamage: 'skip'` or `seek()`. [`hermes doctor`, then `hermes repair`](operations.md#lost-and-damaged-files) set the bytes aside in `quarantine/`, and so does the next publisher that opens the topic after a crash. Look for the cause: memory, disk, another program that writes there.",
    exit: 5,
  },
  BEHIND_RETENTION: {
    happened: 'Retention removed the messages at this position.',
    remedy: 'Go to `details.firstSequence`, the first message that is left, with `seek()`; keep more, or read faster.',
    exit: 10,
  },
  OUT_OF_RANGE: {
    happened: 'The position does not exist yet.',
    remedy:
      "Use a sequence up to `details.nextSequence`, or `'latest'`; after a restored backup, begin at `details.nextSequence`.",
    exit: 10,
  },
  DISK_FULL: {
    happened: 'There is no room to publish. Nothing was half-written, and what was accepted is there.',
    remedy: 'Make room; publishing works again by itself. See `lowWaterBytes` and retention.',
    exit: 6,
  },
  IO_FAILED: {
    happened: 'The operating system reported a failure; `details.errno` or `details.system` names it.',
    remedy:
      'Do what the message says: where no file can be opened any more (EMFILE, ENFILE), raise the limit. Else look at the kernel log; the device may be failing. After a failed sync it is uncertain what is on the disk of what had not been synced: close all publishers and open the topic again.',
    exit: 1,
  },
  EXCLUSIVE_HELD: {
    happened:
      'Another publisher of the topic is exclusive, or this one was to be exclusive and others are open. `details.pids` has the processes, for topics of this machine.',
    remedy: 'Close the other one first. A killed one gives way at once.',
    exit: 9,
  },
  TOO_MANY_PUBLISHERS: {
    happened: 'All 256 publisher slots of the topic are taken.',
    remedy: 'Share publishers, or close some.',
    exit: 9,
  },
  BACK_PRESSURE: {
    happened: '`publish` was called after it had returned false, and there is no room left at all.',
    remedy: 'Await `ready()` when `publish` returns false.',
    exit: 1,
  },
  FORKED: {
    happened: 'A publisher was used in a forked child of the process that opened it.',
    remedy: 'Open a publisher in the child.',
    exit: 1,
  },
  PEER_DEAD: {
    happened: 'The process at the other end of a ring died.',
    remedy: 'Start it again, and attach anew.',
    exit: 1,
  },
  TIMED_OUT: {
    happened: 'Another process did not release a lock, or the broker did not answer, in time.',
    remedy:
      'Try again; `hermes info` shows which processes have the topic open. A process that holds a lock for a minute is recovering a large topic, or was stopped (SIGSTOP, a debugger).',
    exit: 11,
  },
  LEASE_LOST: {
    happened:
      'A message was acknowledged, or a position committed, too late: this member was taken for dead or hung, and another one has the message.',
    remedy:
      'Handle messages so that the event loop turns, or make `leaseMs` longer. The other member handles the message again: make sure that this does no harm.',
    exit: 9,
  },
  POSITION_LOST: {
    happened:
      'The topic has lost messages that a group or a durable subscription had reached (a power cut, damage), or is another topic of the same name.',
    remedy:
      'Go on: nothing that is there was skipped. Messages with these sequences are new ones. If the topic was made anew, delete the group.',
    exit: 10,
  },
  REQUEST_FAILED: {
    happened:
      'The handler of a [request](request-reply.md) failed; `details` has the name, code and message of its error.',
    remedy: 'Look at what the responder says; ask again if that is sensible.',
    exit: 1,
  },
  CONNECTION_FAILED: {
    happened: 'There is no connection to the broker, or it was lost and retrying was given up.',
    remedy:
      "Check the address and that `hermes serve` runs there; `cause` has the system's reason. Of TLS the message says what to do: which certificate is missing, expired, or for another name.",
    exit: 12,
  },
  PROTOCOL: {
    happened: 'The other side broke the protocol. The connection was closed.',
    remedy: 'Check that it is a Hermes broker or client, and its version.',
    exit: 1,
  },
  UNAUTHORIZED: {
    happened: 'The broker got no token, a wrong one, or one without permission for this.',
    remedy: 'Give the right token, or have the permission granted to it.',
    exit: 4,
  },
  FENCED: {
    happened: 'A newer connection replaced this publisher.',
    remedy: 'Look for a second publisher with the same identity; open a new one if this one is to go on.',
    exit: 9,
  },
  LIMIT: {
    happened: "One of the broker's limits was reached; the message names it.",
    remedy: 'Use fewer connections, topics or subscriptions, or raise the limit where the broker is started.',
    exit: 1,
  },
  SLOW_CONSUMER: {
    happened: 'The client read nothing for too long, and was disconnected.',
    remedy: 'Read faster, or in a process of its own; go on from the last position.',
    exit: 1,
  },
}

/** The table as docs/errors.md has it. */
export function errorTableText(): string {
  const head = ['| code | what happened | what to do | exit code |', '| --- | --- | --- | --- |']
  const rows = Object.entries(errorTable).map(
    ([code, { happened, remedy, exit }]) => `| \`${code}\` | ${happened} | ${remedy} | ${exit} |`,
  )
  return [...head, ...rows].join('\n')
}
