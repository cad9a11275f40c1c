/** The numbers of docs/ring-layout.md. Offsets are in bytes from the start of the ring. */

export const ringMagic = 0x474e5248
export const ringVersion = 1
export const dataOffset = 2048
export const lineBytes = 128
export const maxCapacity = 2 ** 30
export const maxItemBytes = 2 ** 20
export const maxParticipants = 254
export const parkingFlag = 1

export const ringKinds = { spsc: 1, bytes: 2, mpmc: 3 } as const
export type RingKind = keyof typeof ringKinds

/** Header fields. */
export const header = {
  magic: 0,
  version: 4,
  kind: 8,
  flags: 12,
  itemSize: 16,
  slotSize: 20,
  capacity: 24,
  dataOffset: 28,
  totalBytes: 32,
  tag: 40,
  participants: 48,
  crc: 60,
} as const

/** Shared words, as indices into an Int32Array over the ring. */
export const word = {
  producerIndex: 128 >> 2,
  consumerIndex: 384 >> 2,
  consumersWaiting: 640 >> 2,
  itemsEventcount: 644 >> 2,
  producersWaiting: 768 >> 2,
  roomEventcount: 772 >> 2,
  voided: 896 >> 2,
  droppedNewest: 900 >> 2,
  droppedOldest: 904 >> 2,
  participant: 1024 >> 2,
} as const

export const frameHeaderBytes = 8
export const paddingFlag = 0x8000_0000 | 0

export function slotBytes(kind: RingKind, itemBytes: number): number {
  if (kind === 'bytes') return 1
  return kind === 'mpmc' ? (8 + itemBytes + 7) & ~7 : itemBytes
}

export function totalBytes(kind: RingKind, itemBytes: number, capacity: number): number {
  return Math.ceil((dataOffset + capacity * slotBytes(kind, itemBytes)) / lineBytes) * lineBytes
}

export function capacityFits(kind: RingKind, capacity: number): boolean {
  const least = kind === 'bytes' ? 64 : 2
  return Number.isInteger(capacity) && capacity >= least && capacity <= maxCapacity && (capacity & (capacity - 1)) === 0
}

/** The turn of the producer of `position` in an MPMC ring of 2^`shift` slots; the consumer's is one more. */
export function turnOf(position: number, shift: number): number {
  return ((position >>> shift) << 1) & 0xff_ffff
}
