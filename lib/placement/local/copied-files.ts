import { chmod, open, stat } from 'node:fs/promises'
import { readRegular } from '../../store/regular-file.js'

export async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

export async function copyFile(from: string, to: string): Promise<void> {
  await writeFile(to, await readRegular(from), await modeOf(from))
}

export async function writeFile(path: string, content: Uint8Array, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode)
  try {
    await chmod(path, mode)
    await file.writeFile(content)
  } finally {
    await file.close()
  }
}
