import type { Command } from 'commander'
import { listenAddress } from '../../base/listen-address.js'
import { timerDuration } from '../arguments.js'
import { requireDirectory } from '../place.js'
import type { Session } from '../session.js'
import { untilStopped } from '../until-stopped.js'
import { globalsOf, withHelp } from './common.js'
import { type ServeOptions, wantedOf } from './serve.js'

interface Options extends Pick<ServeOptions, 'config' | 'insecure' | 'tlsKey' | 'tlsCert' | 'tlsCa' | 'duration'> {
  readonly listen: string
}

export function registerAdmin(program: Command, session: Session): void {
  const command = program
    .command('admin')
    .summary('serve metrics, health and a JSON API of a directory over HTTP')
    .description(
      'Serves metrics, health and a JSON API of --dir over HTTP until it is stopped, with or without a broker there. It only reads. ' +
        'Tokens and certificates are those of `hermes serve`: from --config, HERMES_TOKEN and the options.',
    )
    .option('--listen <address>', 'where to listen, as host:port', '127.0.0.1:9464')
    .option('-c, --config <file>', 'JSON, as of `hermes serve`: access and tls are taken from it')
    .option('--insecure', 'serve a public address without authentication')
    .option('--tls-key <file>', 'the private key, PEM; with --tls-cert')
    .option('--tls-cert <file>', 'the certificate, PEM')
    .option('--tls-ca <file>', 'ask clients for a certificate that this authority has signed, PEM')
    .option('-t, --duration <time>', 'stop after a time', timerDuration)
    .action(async ({ listen, ...options }: Options) => {
      const { serveAdmin } = await import('../../admin/server.js')
      const { dir } = globalsOf(command)
      requireDirectory(dir, 'admin', {
        broker: 'Run it on the machine of the broker, or start the broker with `hermes serve --admin`.',
        cluster:
          '`hermes metrics` and `hermes top` show what a cluster knows of its topics; of its servers, `nats server report jetstream`.',
      })
      const { access, tls, insecure } = await wantedOf(dir, options, session.streams.env)
      await using server = await serveAdmin({
        dir,
        ...listenAddress(listen),
        ...(access !== undefined && { access }),
        ...(tls !== undefined && { tls }),
        ...(insecure !== undefined && { insecure }),
      })
      session.out.line(session.json ? JSON.stringify({ url: server.url }) : `Telling of ${dir} at ${server.url}`)
      await session.out.flush()
      await untilStopped(session, options.duration)
    })
  withHelp(
    command,
    `
hermes admin --dir /var/lib/hermes
hermes admin --dir /var/lib/hermes --listen 10.0.0.5:9464 --config /etc/hermes.json`,
  )
}
