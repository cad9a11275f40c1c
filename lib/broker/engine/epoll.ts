import { lookup } from 'node:dns/promises'
import { HermesError } from '../../base/errors.js'
import { callNative } from '../../native/error.js'
import { outcome, readable, writable } from '../../native/reactor-types.js'
import type { Engine, EngineHost } from './engine.js'
import { EpollSocket } from './epoll-socket.js'
import { errorName, Reactor } from './reactor.js'

/** The key of the listening socket in events. */
const listener = 0
/** Accepted in one go: then those who are connected have their turn. */
const mostAccepted = 32
/** A broker that spins looks so often before the event loop has its turn: about as long as that takes. */
const spinLooks = 16
/** If the system has nothing for a connection, it is tried again after so long. */
const acceptPauseMs = 100

/**
 * Linux's epoll as an engine, by the addon. One descriptor of the event loop stands for all connections, and reading and writing are one native
 * call each, with none of the machinery of Node's streams. It speaks no TLS.
 */
export class EpollEngine<Guest> implements Engine {
  readonly #host: EngineHost<Guest>
  readonly #sockets = new Map<number, EpollSocket>()
  #reactor: Reactor | undefined
  #stopped = false
  #paused: NodeJS.Timeout | undefined
  readonly #closed: Promise<void>
  #noteClosed = () => {}

  constructor(host: EngineHost<Guest>) {
    this.#host = host
    this.#closed = new Promise((resolve) => {
      this.#noteClosed = resolve
    })
  }

  get port(): number {
    return this.#reactor?.calls.port() ?? 0
  }

  async listen(host: string, port: number): Promise<void> {
    const { address } = await lookup(host)
    const reactor = new Reactor(() => this.#look(1))
    try {
      callNative(() => reactor.calls.listen(address, port))
    } catch (error) {
      reactor.calls.close()
      throw systemError(error)
    }
    this.#reactor = reactor
    if (this.#stopped) this.#stop(reactor)
  }

  /** It is made for brokers without TLS only. */
  renew(): never {
    throw new HermesError('UNSUPPORTED', "The engine 'epoll' speaks no TLS.")
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    if (this.#reactor === undefined) this.#noteClosed()
    else this.#stop(this.#reactor)
  }

  #stop(reactor: Reactor): void {
    clearTimeout(this.#paused)
    reactor.calls.stop()
    this.#noteIfClosed()
  }

  close(): Promise<void> {
    this.stop()
    return this.#closed
  }

  /** A broker that spins asks for this in each turn of its event loop. */
  spin(): void {
    this.#look(spinLooks)
  }

  #noteIfClosed(): void {
    if (!this.#stopped || this.#sockets.size > 0) return
    // (the event loop has no reason to wait any more)
    this.#reactor?.calls.close()
    this.#noteClosed()
  }

  #look(looks: number): void {
    const reactor = this.#reactor
    if (reactor === undefined) return
    const count = reactor.calls.look(looks)
    for (let index = 0; index < count; index++) {
      const key = reactor.eventKey(index)
      if (key === listener) {
        this.#accept(reactor)
        continue
      }
      const what = reactor.eventWhat(index)
      // (one of those before may have ended it)
      if ((what & writable) !== 0) this.#sockets.get(key)?.canWrite()
      if ((what & readable) !== 0) this.#sockets.get(key)?.canRead()
    }
  }

  #accept(reactor: Reactor): void {
    for (let count = 0; count < mostAccepted && !this.#stopped; count++) {
      reactor.calls.accept()
      if (reactor.error !== 0) {
        this.#host.failed('listen-failed', { message: `accept ${errorName(reactor.error)}` })
        if (reactor.outcome === outcome.later) this.#acceptLater(reactor)
      }
      if (reactor.outcome !== outcome.done) return
      this.#admit(reactor, reactor.key, reactor.descriptor)
    }
  }

  /** It would be told of at once again, and could do nothing. */
  #acceptLater(reactor: Reactor): void {
    if (this.#paused !== undefined) return
    reactor.calls.pauseListening()
    this.#resumeLater(reactor)
  }

  #resumeLater(reactor: Reactor): void {
    this.#paused = setTimeout(() => {
      this.#paused = undefined
      if (!this.#stopped && !reactor.calls.resumeListening()) this.#resumeLater(reactor)
    }, acceptPauseMs)
  }

  #admit(reactor: Reactor, key: number, descriptor: number): void {
    const address = reactor.calls.peer(key)
    const socket: EpollSocket = new EpollSocket(reactor, key, () => {
      // (its successor may have the key by now)
      if (this.#sockets.get(key) === socket) this.#sockets.delete(key)
      this.#noteIfClosed()
    })
    // Before the broker is asked: the socket that is to make room for it may be ended within the question.
    this.#sockets.set(key, socket)
    let served = false
    const guest = this.#host.admit(address || 'unknown', descriptor, () => socket.drop())
    if (guest !== undefined) {
      served = true
      socket.start(this.#host.serve(socket, guest))
    }
    if (!served) socket.destroy()
  }
}

/** The error as Node's own server would have it. */
function systemError(error: unknown): unknown {
  const { cause } = error as { cause?: { errno?: unknown } }
  const { errno } = (cause ?? error) as { errno?: unknown }
  if (typeof errno !== 'number' || errno === 0) return error
  const code = errorName(errno)
  return Object.assign(new Error(`listen ${code}`, { cause: error }), { code, errno: -errno, syscall: 'listen' })
}
