import { mkdtempSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createSecure } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type BrokerOptions, serve } from '../../lib/broker/index.js'
import { type ClientTls, type HermesError, open } from '../../lib/index.js'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'

describe.skipIf(!hasOpenssl())('what TLS fails with, in plain words (certificates made by openssl)', () => {
  const folder = foldersPerTest()
  const keys = mkdtempSync(join(tmpdir(), 'hermes-tls-'))
  const authority = certificate(keys, 'authority')
  const server = certificate(keys, 'server', 'authority')
  const expired = certificate(keys, 'expired', 'authority', -1)
  const alice = certificate(keys, 'alice', 'authority')
  const stranger = certificate(keys, 'stranger')

  /** Why a client is not let in: without OpenSSL's own lines, and with them as the cause. */
  async function refused(tls: BrokerOptions['tls'], client: ClientTls): Promise<HermesError> {
    await using broker = await serve({ dir: join(folder(), 'data'), port: 0, ...(tls === undefined ? {} : { tls }) })
    const url = broker.url.replace(/^tcp:/, 'tls:')
    return plain(await failure('CONNECTION_FAILED', () => open(url, { tls: client, connectTimeoutMs: 20_000 })))
  }

  function plain(error: HermesError): HermesError {
    expect(error.message).not.toMatch(/error:0|SSL routines|ssl3_|\.c:\d/)
    expect(error.cause).toBeInstanceOf(Error)
    return error
  }

  test('an authority that is not known', async () => {
    for (const tls of [server, stranger]) {
      const { message } = await refused(tls, {})
      expect(message).toMatch(/not signed by an authority that this program trusts.*tls: \{ ca \}/)
    }
    expect((await refused(server, { ca: stranger.cert })).message).toMatch(/not signed by an authority/)
  })

  test('a certificate that has expired', async () => {
    const { message } = await refused(expired, { ca: authority.cert })
    expect(message).toMatch(/has expired. Renew it at the broker/)
  })

  test('a certificate for another name', async () => {
    const { message } = await refused(server, { ca: authority.cert, servername: 'elsewhere.example' })
    expect(message).toMatch(/not for 'elsewhere.example'.*tls: \{ servername \}/)
  })

  test('a broker in clear text', async () => {
    const { message } = await refused(undefined, { ca: authority.cert })
    expect(message).toMatch(/does not speak TLS.*tcp:\/\//)
  })

  test('a client certificate that is missing, or of another authority', async () => {
    const asking = { ...server, ca: authority.cert }
    expect((await refused(asking, { ca: authority.cert })).message).toMatch(/tls: \{ cert, key \}/)
    expect((await refused(asking, { ca: authority.cert, ...stranger })).message).toMatch(/certificate/)
    await using broker = await serve({ dir: join(folder(), 'data'), port: 0, tls: asking })
    await (await open(broker.url, { tls: { ca: authority.cert, ...alice } })).close()
  })

  test.each<[string, RegExp, (url: string) => Promise<unknown>]>([
    ['a client in clear text', /does not speak TLS.*tls:\/\//, (url) => open(url.replace('tls:', 'tcp:'))],
    ['a client that does not know the authority', /not trust the broker's certificate/, (url) => open(url)],
    ['no client certificate', /gave no certificate/, (url) => open(url, { tls: { ca: authority.cert } })],
    [
      'a client certificate of another authority',
      /certificate is not accepted.*authority of 'tls\.ca'/,
      (url) => open(url, { tls: { ca: authority.cert, ...stranger } }),
    ],
  ])("in the broker's log: %s", async (_, what, opening) => {
    const told: string[] = []
    const log: BrokerOptions['log'] = ({ event, message }) => event === 'tls-failed' && told.push(String(message))
    await using broker = await serve({
      dir: join(folder(), 'data'),
      port: 0,
      tls: { ...server, ca: authority.cert },
      log,
    })
    await failure('CONNECTION_FAILED', () => opening(broker.url))
    await expect.poll(() => told[0], { timeout: 20_000 }).toMatch(what)
    expect(told[0]).not.toMatch(/error:|SSL routines|\.c:\d|\n/)
  })

  test('no version of TLS in common', async () => {
    const old = createSecure({ ...server, maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL@SECLEVEL=0' })
    old.on('tlsClientError', () => {})
    onTestFinished(() => void old.close())
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve))
    const { port } = old.address() as { port: number }
    const opening = () => open(`tls://127.0.0.1:${port}`, { tls: { ca: authority.cert } })
    expect(plain(await failure('CONNECTION_FAILED', opening)).message).toMatch(/no version or cipher of TLS in common/)
  })

  test('a server that ends each connection', async () => {
    const rude = createServer((socket) => {
      socket.on('error', () => {})
      socket.destroy()
    })
    onTestFinished(() => void rude.close())
    await new Promise<void>((resolve) => rude.listen(0, '127.0.0.1', resolve))
    const { port } = rude.address() as { port: number }
    for (const scheme of ['tcp', 'tls']) {
      const error = await failure('CONNECTION_FAILED', () => open(`${scheme}://127.0.0.1:${port}`))
      // Over TLS it may want a certificate, in clear text it may speak TLS only.
      expect(plain(error).message).toMatch(
        scheme === 'tls' ? /give one with tls: \{ cert, key \}/ : /connect to tls:\/\//,
      )
    }
  })

  test('certificates that can not be read are refused as an argument', async () => {
    const refusal = async (tls: ClientTls) =>
      (await failure('INVALID_ARGUMENT', () => open('tls://127.0.0.1:1', { tls }))).message
    for (const tls of [{ ca: 'ca.pem' }, { ca: authority.cert, cert: 'x', key: 'y' }])
      expect(await refusal(tls)).toMatch(/must be a PEM text, not a path/)
    expect(await refusal({ cert: alice.cert, key: server.key })).toMatch(/'key' belongs to 'cert'/)
  })
})
