import type { Publisher, Subscriber } from '../../lib/index.js'

export interface Received<Out> {
  readonly value: Out
  readonly sequence: number
}

/** Takes `count` messages from an iteration, which it ends. */
export async function take<Out>(subscriber: Subscriber<Out, unknown>, count: number): Promise<Received<Out>[]> {
  const received: Received<Out>[] = []
  if (count === 0) return received
  for await (const { value, sequence } of subscriber) {
    received.push({ value, sequence })
    if (received.length === count) break
  }
  return received
}

/** Polls everything that is there now. `copy` makes an owned value of the view. */
export function drain<View, Out>(subscriber: Subscriber<unknown, View>, copy: (view: View) => Out): Received<Out>[] {
  const received: Received<Out>[] = []
  while (subscriber.poll((view, { sequence }) => received.push({ value: copy(view), sequence })) > 0);
  return received
}

/** Polls until `count` messages have come, and for what is there besides: over a network the last ones may take a moment. */
export async function collect<View, Out>(
  subscriber: Subscriber<unknown, View>,
  count: number,
  copy: (view: View) => Out,
): Promise<Received<Out>[]> {
  const received = drain(subscriber, copy)
  while (received.length < count) {
    await subscriber.ready()
    received.push(...drain(subscriber, copy))
  }
  return received
}

export const same = <T>(value: T): T => value

export async function publishMany(publisher: Publisher<number>, from: number, count: number): Promise<void> {
  for (let n = from; n < from + count; n++) {
    if (!publisher.publish(n)) await publisher.ready()
  }
}

export function numbers(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index)
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Resolves to 'pending' if `promise` is not settled within some turns of the event loop and `ms`. */
export async function stateOf(promise: Promise<unknown>, ms = 50): Promise<'pending' | 'resolved' | 'rejected'> {
  return Promise.race([
    promise.then(
      () => 'resolved' as const,
      () => 'rejected' as const,
    ),
    pause(ms).then(() => 'pending' as const),
  ])
}
