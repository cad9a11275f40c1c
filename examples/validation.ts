// Values are checked at the boundary: by any Standard Schema validator (zod, valibot, arktype, …). This one is written by
// hand, so that the example needs no other package; with zod it would be `z.object({ … })`.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { HermesError, json, open, validated } from 'hermes-mq'

interface Order {
  readonly id: string
  readonly quantity: number
}

const orderSchema: StandardSchemaV1<Order> = {
  '~standard': {
    version: 1,
    vendor: 'example',
    validate(value) {
      const { id, quantity } = (value ?? {}) as Partial<Order>
      const issues: StandardSchemaV1.Issue[] = []
      if (typeof id !== 'string' || id === '') issues.push({ message: 'must be a text', path: ['id'] })
      if (!Number.isInteger(quantity) || (quantity as number) < 1) {
        issues.push({ message: 'must be a whole number from 1 on', path: ['quantity'] })
      }
      return issues.length > 0 ? { issues } : { value: { id: id as string, quantity: quantity as number } }
    },
  },
}

const place = await mkdtemp(join(tmpdir(), 'hermes-example-'))
try {
  await using hermes = await open(place)
  const orders = hermes.topic('orders', { codec: validated(json<Order>(), orderSchema) })
  const publisher = await orders.publisher()
  const subscriber = await orders.subscriber({ from: 'earliest' })

  publisher.publish({ id: 'A-1', quantity: 2 })
  try {
    publisher.publish({ id: 'A-2', quantity: 0 })
  } catch (error) {
    // Tell errors apart by their code. Nothing was published.
    if (!(error instanceof HermesError) || error.code !== 'VALIDATION_FAILED') throw error
    console.log(`refused: ${error.message}`)
    console.log(JSON.stringify(error.details.issues))
  }
  publisher.publish({ id: 'A-3', quantity: 5 })

  subscriber.poll((order, { sequence }) => console.log(`${sequence}: ${order.quantity} of ${order.id}`))

  // The codec is kept with the topic, so nobody reads it as something else.
  const { codec } = await orders.info()
  console.log(`the topic holds ${codec.name}`)
} finally {
  await rm(place, { recursive: true })
}
