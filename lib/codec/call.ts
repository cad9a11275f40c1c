import type { Codec, Reader, Region } from './codec.js'
import { decodeFailed, payloadTooLarge } from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { guarded, sealed } from './guarded.js'
import { json } from './json.js'

/*
 * What requests and replies are wrapped in: docs/request-reply.md has the bytes. The head names the requester, so that a reader of the topic skips
 * what is for others without decoding it.
 */

export const callHeadBytes = 32

export const callKind = { request: 1, reply: 2, failure: 3, cancel: 4 } as const
export type CallKind = (typeof callKind)[keyof typeof callKind]

/** What a handler failed with. */
export interface CallFailure {
  readonly name: string
  readonly code: string
  readonly message: string
}

/** A request, its reply, or what else is said of it. */
export interface Call<Value> {
  /** Random, of the requester. */
  readonly client: bigint
  /** Of the request, from 1. */
  readonly number: number
  readonly kind: CallKind
  /** When the caller stops waiting for the reply, in ms since 1970; 0: never. */
  readonly deadlineMs: number
  readonly value?: Value
  readonly failure?: CallFailure
}

/** A call in place: valid until the handler of `poll` returns. */
export interface CallView<Value> extends Omit<Call<Value>, 'value' | 'failure'> {
  read(): Call<Value>
}

/** @param inner of the values, on both sides */
export function callCodec<In, Out>(inner: Codec<In, Out, unknown>): Codec<Call<In>, Call<Out>, CallView<Out>> {
  const codec = guarded(inner) as Codec<In, Out, unknown>
  const name = `call:${codec.name}`

  const decode = (source: Region, offset: number, length: number): Call<Out> => {
    const head = headOf(name, source, offset, length)
    const at = offset + callHeadBytes
    if (head.kind === callKind.request || head.kind === callKind.reply)
      return { ...head, value: codec.decode(source, at, length - callHeadBytes) }
    if (head.kind !== callKind.failure) return head
    return { ...head, failure: json.decode(source, at, length - callHeadBytes) as CallFailure }
  }

  return sealed({
    name,
    fingerprint: fingerprintOf(`hermes-call:1:${codec.fingerprint}`),
    schema: { format: 'hermes-call', version: 1, value: codec.schema },
    maxBytes: codec.maxBytes === undefined ? undefined : codec.maxBytes + callHeadBytes,

    encode(call: Call<In>, target: Region, offset: number, limit: number): number {
      if (limit - offset < callHeadBytes) throw payloadTooLarge(name, limit - offset)
      const at = offset + callHeadBytes
      // The value first: what it runs may not find a head without it.
      let bytes = 0
      if (call.failure !== undefined) bytes = json.encode(call.failure, target, at, limit)
      else if (call.kind !== callKind.cancel) bytes = codec.encode(call.value as In, target, at, limit)
      const { data } = target
      data.setBigUint64(offset, call.client, true)
      data.setBigUint64(offset + 8, BigInt(call.number), true)
      data.setUint32(offset + 16, call.kind, true)
      data.setUint32(offset + 20, 0, true)
      data.setBigUint64(offset + 24, BigInt(call.deadlineMs), true)
      return callHeadBytes + bytes
    },

    decode,

    reader(): Reader<CallView<Out>> {
      return {
        read: (source, offset, length) => ({
          ...headOf(name, source, offset, length),
          read: () => decode(source, offset, length),
        }),
      }
    },
  })
}

function headOf(
  name: string,
  { data }: Region,
  offset: number,
  length: number,
): Omit<Call<never>, 'value' | 'failure'> {
  const kind = length < callHeadBytes ? 0 : data.getUint32(offset + 16, true)
  if (kind < callKind.request || kind > callKind.cancel) throw decodeFailed(name, 'it has no head of a call.')
  return {
    client: data.getBigUint64(offset, true),
    number: Number(data.getBigUint64(offset + 8, true)),
    kind: kind as CallKind,
    deadlineMs: Number(data.getBigUint64(offset + 24, true)),
  }
}
