// What a shared object asks of the machine that loads it, read from the file itself (64-bit little-endian ELF).
import { readFileSync } from 'node:fs'

const machines = { 62: 'x86-64', 183: 'aarch64' }

const sectionSymbols = 2
const sectionDynamic = 6
const sectionDynamicSymbols = 11
const sectionVersionNeeds = 0x6ffffffe
const tagNeeded = 1n

function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

export const newerThan = (version, limit) => compareVersions(version, limit) > 0

function readSections(elf) {
  const start = Number(elf.readBigUInt64LE(0x28))
  const [size, count] = [elf.readUInt16LE(0x3a), elf.readUInt16LE(0x3c)]
  return Array.from({ length: count }, (_, index) => {
    const header = elf.subarray(start + index * size)
    const offset = Number(header.readBigUInt64LE(0x18))
    const bytes = elf.subarray(offset, offset + Number(header.readBigUInt64LE(0x20)))
    // `link` is the index of the string table, `info` the number of entries in a version section.
    return { type: header.readUInt32LE(4), link: header.readUInt32LE(0x28), info: header.readUInt32LE(0x2c), bytes }
  })
}

function stringAt(table, offset) {
  return table.toString('latin1', offset, table.indexOf(0, offset))
}

/** The symbol versions asked for, such as `GLIBC_2.14`. */
function readVersionNeeds(sections) {
  const versions = []
  for (const { bytes, link, info } of sections.filter(({ type }) => type === sectionVersionNeeds)) {
    const strings = sections[link].bytes
    for (let library = 0, at = 0; library < info; library++) {
      const count = bytes.readUInt16LE(at + 2)
      for (let entry = 0, aux = at + bytes.readUInt32LE(at + 8); entry < count; entry++) {
        versions.push(stringAt(strings, bytes.readUInt32LE(aux + 8)))
        aux += bytes.readUInt32LE(aux + 12)
      }
      at += bytes.readUInt32LE(at + 12)
    }
  }
  return versions
}

function readNeededLibraries(sections) {
  const libraries = []
  for (const { bytes, link } of sections.filter(({ type }) => type === sectionDynamic)) {
    for (let at = 0; at + 16 <= bytes.length; at += 16) {
      if (bytes.readBigUInt64LE(at) !== tagNeeded) continue
      libraries.push(stringAt(sections[link].bytes, Number(bytes.readBigUInt64LE(at + 8))))
    }
  }
  return libraries.sort()
}

/** `{ exports, imports }`: the names that others can see, and those that others have to bring. Global or weak ones. */
function readDynamicSymbols(sections) {
  const exports = []
  const imports = []
  for (const { bytes, link } of sections.filter(({ type }) => type === sectionDynamicSymbols)) {
    for (let at = 24; at + 24 <= bytes.length; at += 24) {
      const isLocal = bytes[at + 4] >> 4 === 0
      const isUndefined = bytes.readUInt16LE(at + 6) === 0
      if (!isLocal) (isUndefined ? imports : exports).push(stringAt(sections[link].bytes, bytes.readUInt32LE(at)))
    }
  }
  return { exports: exports.sort(), imports: imports.sort() }
}

/**
 * `{ exports, imports, glibc, glibcxx, hasSymbolTable, machine, needed }`: names it shows, names it asks for, the newest glibc symbol version it asks for, whether it asks for
 * libstdc++, whether it holds names for a debugger, its processor, and its libraries.
 */
export function inspect(file) {
  const elf = readFileSync(file)
  if (elf.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw new Error(`${file} is no 64-bit little-endian ELF file`)
  const sections = readSections(elf)
  const versions = readVersionNeeds(sections)
  const needed = readNeededLibraries(sections)
  const glibc = versions.filter((name) => /^GLIBC_[0-9.]+$/.test(name)).map((name) => name.slice('GLIBC_'.length))
  return {
    ...readDynamicSymbols(sections),
    needed,
    machine: machines[elf.readUInt16LE(0x12)] ?? 'another processor',
    hasSymbolTable: sections.some(({ type }) => type === sectionSymbols),
    glibc: glibc.sort(compareVersions).at(-1) ?? '0',
    glibcxx:
      versions.some((name) => /^(GLIBCXX|CXXABI)_/.test(name)) || needed.some((name) => /stdc\+\+|libgcc/.test(name)),
  }
}
