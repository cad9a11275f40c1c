import { expect, test } from 'vitest'
import { askedAgain } from '../../lib/placement/nats/asked-again.js'

const never = () => new Promise<never>(() => {})

test('a question that is never answered is asked again, and the first answer is taken', async () => {
  let asked = 0
  const answer = await askedAgain(() => (++asked < 3 ? never() : Promise.resolve(asked)), 5)
  expect(answer).toBe(3)
  await new Promise((resolve) => setTimeout(resolve, 50))
  // Nobody is asked any more.
  expect(asked).toBe(3)
})

test('one that is answered is asked once; a failure is an answer', async () => {
  let asked = 0
  const answered = () => {
    asked++
    return Promise.resolve('yes')
  }
  expect(await askedAgain(answered, 1000)).toBe('yes')
  expect(asked).toBe(1)
  await expect(askedAgain(() => Promise.reject(new Error('no')), 1000)).rejects.toThrow('no')
})
