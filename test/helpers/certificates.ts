import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** PEM texts. */
export interface KeyPair {
  readonly key: string
  readonly cert: string
}

export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A key and a certificate for `name`, signed by `by` or by itself, from now on for so many days (-1: it has expired). */
export function certificate(folder: string, name: string, by?: string, days = 2): KeyPair {
  const file = (ending: string) => join(folder, `${name}.${ending}`)
  const run = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' })
  run('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('key'))
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  if (by === undefined) {
    run('req', '-x509', '-new', '-key', file('key'), '-days', String(days), '-out', file('pem'), ...subject)
  } else {
    run('req', '-new', '-key', file('key'), '-out', file('csr'), ...subject)
    const signer = ['-CA', join(folder, `${by}.pem`), '-CAkey', join(folder, `${by}.key`), '-CAcreateserial']
    run(
      'x509',
      '-req',
      '-in',
      file('csr'),
      ...signer,
      '-days',
      String(days),
      '-copy_extensions',
      'copy',
      '-out',
      file('pem'),
    )
  }
  return { key: readFileSync(file('key'), 'utf8'), cert: readFileSync(file('pem'), 'utf8') }
}
