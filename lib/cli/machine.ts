import { statfs } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { version } from '../base/version.js'
import { bytesText } from './text-format.js'

/** What stands beside every figure that is measured. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly kernel: string
  readonly node: string
  readonly hermes: string
}

export interface FileSystem {
  readonly directory: string
  readonly fileSystem: string
}

const fileSystems: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlayfs',
  801189825: 'zfs',
  26985: 'nfs',
}

export function thisMachine(): Machine {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? process.arch,
    cores: processors.length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.versions.node,
    hermes: version,
  }
}

export async function fileSystemOf(directory: string): Promise<FileSystem> {
  const { type } = await statfs(directory)
  return { directory, fileSystem: fileSystems[type] ?? `0x${type.toString(16)}` }
}

export function machineText({ cpu, cores, memoryBytes, kernel, node, hermes }: Machine): string {
  return `${cpu}, ${cores} cores, ${bytesText(memoryBytes)}; Linux ${kernel}, Node ${node}, hermes-mq ${hermes}`
}
