import { AsyncLocalStorage } from 'node:async_hooks'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { type Context, type ContextManager, context, ROOT_CONTEXT, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { AggregationTemporality, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ascii, type Hermes, json, open, struct, u32 } from '../../lib/index.js'
import { catalogue } from '../../lib/metrics/families.js'
import {
  observeMetrics,
  traceBatch,
  traceHandler,
  traceJobs,
  tracePublisher,
  traceparent,
} from '../../lib/otel/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const exporter = new InMemorySpanExporter()
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const Order = struct({ traceparent: ascii(55), id: u32 })
const options = { tracerProvider, contextField: 'traceparent' }

/** What programs get from `@opentelemetry/context-async-hooks`. */
class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()
  active = () => this.#storage.getStore() ?? ROOT_CONTEXT
  with: ContextManager['with'] = (one, work, self, ...args) =>
    this.#storage.run(one, () => work.call(self as never, ...args))
  bind: ContextManager['bind'] = (_, target) => target
  enable = () => this
  disable = () => this
}

beforeAll(() => void context.setGlobalContextManager(new AsyncContexts()))
afterAll(() => context.disable())
beforeEach(() => exporter.reset())

function spans(name: string): ReadableSpan[] {
  return exporter.getFinishedSpans().filter((span) => span.name === name)
}

describe('spans', { timeout: 60_000 }, () => {
  it('of a message and of its handling are one trace, by the context in a field', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('orders', { codec: Order })
    const publisher = tracePublisher(await topic.publisher(), options)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const value = { traceparent: '', id: 7 }
    expect(publisher.publish(value)).toBe(true)
    expect(value.traceparent).toBe('')
    const [sent] = spans('publish orders')
    expect(sent?.kind).toBe(SpanKind.PRODUCER)
    expect(sent?.attributes).toEqual({
      'messaging.system': 'hermes',
      'messaging.destination.name': 'orders',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.message.id': '1',
    })
    let inside = ''
    subscriber.poll(
      traceHandler(
        'orders',
        (order) => {
          expect(order.traceparent).toBe(`00-${sent?.spanContext().traceId}-${sent?.spanContext().spanId}-01`)
          inside = traceparent()
        },
        options,
      ),
    )
    const [handled] = spans('process orders')
    expect(handled?.kind).toBe(SpanKind.CONSUMER)
    expect(handled?.attributes).toEqual({
      'messaging.system': 'hermes',
      'messaging.destination.name': 'orders',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.message.id': '1',
      'messaging.message.body.size': Order.maxBytes,
    })
    expect(handled?.spanContext().traceId).toBe(sent?.spanContext().traceId)
    expect(handled?.parentSpanContext?.spanId).toBe(sent?.spanContext().spanId)
    expect(handled?.links.map(({ context: { spanId } }) => spanId)).toEqual([sent?.spanContext().spanId])
    expect(inside).toContain(handled?.spanContext().spanId)
    expect(traceparent()).toBe('')
    await hermes.close()
  })

  it('of a batch link to each of its messages, and are children of what is active', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('orders', { codec: Order })
    const publisher = tracePublisher(await topic.publisher(), options)
    publisher.publishBatch([1, 2, 3].map((id) => ({ traceparent: '', id })))
    const receipt = await publisher.publishAsync({ traceparent: '', id: 4 })
    const [batch, single] = spans('publish orders')
    expect(batch?.attributes['messaging.batch.message_count']).toBe(3)
    expect(single?.attributes['messaging.message.id']).toBe(String(receipt.sequence))
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for await (const messages of subscriber.batches()) {
      const ids = await traceBatch('orders', messages, async () => messages.map(({ value }) => value.id), {
        ...options,
        group: 'audit',
      })
      expect(ids).toEqual([1, 2, 3, 4])
      break
    }
    const [handled] = spans('process orders')
    expect(handled?.attributes).toMatchObject({
      'messaging.batch.message_count': 4,
      'messaging.consumer.group.name': 'audit',
      'hermes.first_sequence': 1,
    })
    const [b, s] = [batch?.spanContext().spanId, single?.spanContext().spanId]
    expect(handled?.links.map(({ context: { spanId } }) => spanId)).toEqual([b, b, b, s])
    expect(handled?.parentSpanContext).toBeUndefined()
    await hermes.close()
  })

  it('of jobs end with the handler, and say what failed', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('jobs', { codec: json })
    const publisher = tracePublisher(await topic.publisher(), { tracerProvider })
    publisher.publish({ id: 1 })
    publisher.publish({ id: 2 })
    const group = await topic.group('billing', { from: 'earliest' })
    const stop = new AbortController()
    let handled = 0
    await group.run(
      traceJobs(
        'jobs',
        async (job) => {
          await new Promise((resolve) => setTimeout(resolve, 5))
          if (++handled === 2) stop.abort()
          if (job.sequence === 2) throw new RangeError('no such id')
        },
        { tracerProvider, group: 'billing' },
      ),
      { signal: stop.signal },
    )
    const [first, second] = spans('process jobs')
    expect(first?.attributes).toMatchObject({ 'messaging.message.id': '1', 'messaging.consumer.group.name': 'billing' })
    expect(first?.links).toEqual([])
    expect([first?.status.code, second?.status.code]).toEqual([SpanStatusCode.UNSET, SpanStatusCode.ERROR])
    expect(second?.attributes['error.type']).toBe('RangeError')
    await group.close()
    await publisher.publisher.close()
    const error = await failure('CLOSED', () => publisher.publish({ id: 3 }))
    const failed = spans('publish jobs').at(-1)
    expect(failed?.attributes['error.type']).toBe('CLOSED')
    expect(failed?.status.message).toBe(error.message)
    await hermes.close()
  })

  it('take no context from a field that holds something else', async () => {
    const texts = [
      '',
      'x',
      `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`,
      `01-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
      7,
      null,
    ]
    for (const text of texts) traceBatch('t', [{ value: { traceparent: text }, sequence: 1 }], () => {}, options)
    traceBatch('t', [{ value: undefined, sequence: 1 }], () => {}, options)
    expect(spans('process t').map(({ links }) => links)).toEqual(Array.from({ length: 7 }, () => []))
    const good = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    traceBatch('t', [{ value: { traceparent: good }, sequence: 1 }], () => {}, options)
    expect(spans('process t').at(-1)?.spanContext().traceId).toBe('a'.repeat(32))
  })

  it('are refused for wrong options', async () => {
    await failure('UNKNOWN_OPTION', () => traceHandler('t', () => {}, { field: 'x' } as object))
    await failure('INVALID_ARGUMENT', () => traceHandler('t', () => {}, { contextField: '' }))
    await failure('INVALID_ARGUMENT', () => traceHandler('t', 'handler' as never))
    await failure('INVALID_ARGUMENT', () => tracePublisher({} as never))
    await failure('INVALID_ARGUMENT', () => traceBatch('t', 'messages' as never, () => {}))
  })
})

class ManualReader extends MetricReader {
  protected override onShutdown = async () => {}
  protected override onForceFlush = async () => {}
}

describe('metrics', { timeout: 60_000 }, () => {
  it('of a place are told to a MeterProvider when they are collected', async () => {
    const hermes: Hermes = await open(folder())
    const topic = hermes.topic('orders', { codec: json })
    const publisher = await topic.publisher()
    for (let id = 0; id < 5; id++) publisher.publish({ id })
    await (await topic.group('billing', { from: 'earliest' })).close()
    const reader = new ManualReader({
      aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE,
    })
    const meterProvider = new MeterProvider({ readers: [reader] })
    const observation = await observeMetrics(hermes, { meterProvider })
    const found = async () => {
      const { resourceMetrics, errors } = await reader.collect()
      expect(errors).toEqual([])
      const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
      return (name: string) => metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? []
    }
    let points = await found()
    expect(points('hermes_topic_published_messages')).toMatchObject([{ attributes: { topic: 'orders' }, value: 5 }])
    expect(points('hermes_group_lag_messages')).toMatchObject([
      { attributes: { topic: 'orders', group: 'billing', kind: 'shared' }, value: 5 },
    ])
    publisher.publish({ id: 5 })
    points = await found()
    expect(points('hermes_topic_published_messages')).toMatchObject([{ value: 6 }])
    observation.close()
    publisher.publish({ id: 6 })
    points = await found()
    // (of a counter that nobody observes any more, the SDK may still tell the last value)
    expect(points('hermes_topic_published_messages')[0]?.value ?? 6).toBe(6)
    await meterProvider.shutdown()
    await hermes.close()
  })

  it('of a place that counts nothing are refused at once', async () => {
    const ring = await open(`ring:otel-${process.pid}`)
    await failure('UNSUPPORTED', () => observeMetrics(ring))
    await failure('UNKNOWN_OPTION', () => observeMetrics(ring, { meter: 1 } as object))
    await ring.close()
  })

  it('have an instrument for each name that is no histogram', () => {
    expect(catalogue.length).toBeGreaterThan(50)
    expect(new Set(catalogue.map(({ name }) => name)).size).toBe(catalogue.length)
    const page = readFileSync(`${root}/docs/metrics.md`, 'utf8')
    const documented = [...page.matchAll(/^\| `(hermes_\w+)` \|.*$/gm)]
      .filter(([row]) => !/\| histogram/.test(row))
      .map(([, name]) => (name as string).replace(/_total$/, ''))
    expect(catalogue.map(({ name }) => name).sort()).toEqual(documented.sort())
  })
})

it('the package without hermes-mq/otel loads nothing of OpenTelemetry', { timeout: 120_000 }, () => {
  // A hook that refuses it: the library, the broker and the command line load all the same.
  const hooks = `export async function resolve(name, about, next) { if (name.startsWith('@opentelemetry')) throw new Error('asked for ' + name); return next(name, about) }`
  const load = (...entries: readonly string[]) => {
    const imports = entries.map(
      (entry) => `await import(${JSON.stringify(pathToFileURL(`${root}/dist/${entry}`).href)})`,
    )
    const program = `import { register } from 'node:module'; register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)})); ${imports.join(';')}`
    execFileSync(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'pipe', timeout: 100_000 })
  }
  load('index.js', 'broker/index.js', 'testkit/index.js', 'admin/server.js', 'browser.js', 'cli/program.js')
  expect(() => load('otel/index.js')).toThrow(/asked for @opentelemetry\/api/)
})
