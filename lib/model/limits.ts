/** Bytes per segment file: at least, at most, and unless a topic is told otherwise. As the addon has them, which may not be here. */
export const minSegmentBytes = 65_536
export const maxSegmentBytes = 1_073_741_824
export const defaultSegmentBytes = 104_857_600
