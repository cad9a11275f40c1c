// A microservice of NestJS whose transport is Hermes, and a client of it. Takes a place as its argument; without one, a temporary directory.
import 'reflect-metadata'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Controller, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { EventPattern, MessagePattern, type MicroserviceOptions, Payload, RpcException } from '@nestjs/microservices'
import { firstValueFrom, lastValueFrom, Subject } from 'rxjs'
import { HermesClient } from './client.js'
import { HermesServer } from './server.js'

interface Order {
  readonly id: number
  readonly customer: string
}

const shipped = new Subject<string>()
let attempts = 0

@Controller()
class ShopController {
  @MessagePattern('sums')
  add(@Payload() numbers: readonly number[]): number {
    if (numbers.length === 0) throw new RpcException('there is nothing to add')
    return numbers.reduce((sum, one) => sum + one, 0)
  }

  @EventPattern('orders')
  ship(@Payload() order: Order): void {
    // The event is not acknowledged, and comes again.
    if (++attempts === 1) throw new Error('the printer is out of paper')
    shipped.next(`order ${order.id} of ${order.customer} shipped at attempt ${attempts}`)
  }
}

@Module({ controllers: [ShopController] })
class ShopModule {}

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-nestjs-')))
const application = await NestFactory.createMicroservice<MicroserviceOptions>(ShopModule, {
  strategy: new HermesServer({ place, name: 'shop' }),
  logger: ['fatal'],
})
try {
  await application.listen()
  const client = new HermesClient({ place })
  console.log('2 + 3 =', await lastValueFrom(client.send<number>('sums', [2, 3])))
  const failure = await lastValueFrom(client.send<number>('sums', [])).catch((error: Error) => error)
  console.log(String((failure as Error).message))
  const done = firstValueFrom(shipped)
  await lastValueFrom(client.emit('orders', { id: 7, customer: 'Ada' }), { defaultValue: undefined })
  console.log(await done)
  await client.close()
} finally {
  await application.close()
  if (given === undefined) await rm(place, { recursive: true })
}
console.log('the application has ended')
