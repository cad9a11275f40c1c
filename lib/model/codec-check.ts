import { HermesError } from '../base/errors.js'
import { type CodecLine, type Standing, standingOf } from '../codec/evolution.js'
import { schemaDifference, shownDifferences } from './schema-difference.js'
import type { TopicSettings } from './topic.js'

/**
 * @returns how the wanted codec stands to the topic's: never `other`
 * @throws HermesError `CODEC_MISMATCH`, which names the fields that differ
 */
export function checkCodec(
  name: string,
  file: CodecLine,
  wanted: Pick<TopicSettings, 'codec'>,
  grows = true,
): Standing['relation'] {
  const { codec } = wanted
  const found = file.codec
  const { relation, reason } = standingOf(file, codec)
  if (relation === 'same' || (grows && relation !== 'other')) return relation
  if (reason !== '') {
    throw new HermesError('CODEC_MISMATCH', `Topic '${name}' does not take this version of its values. ${reason}`, {
      details: { topic: name, found, wanted: codec, differences: [] },
    })
  }
  const differences = schemaDifference(found.schema, codec.schema)
  // Of two layouts the fields tell more than the fingerprints, and of two codecs the names.
  const version = `was made with another version of codec '${found.name}': its fingerprint is ${found.fingerprint}, here it is ${codec.fingerprint}.`
  const layout = differences.length > 0 ? `was made with another layout of codec '${found.name}'.` : version
  const what = found.name === codec.name ? layout : `was made with codec '${found.name}', not with '${codec.name}'.`
  throw new HermesError(
    'CODEC_MISMATCH',
    `Topic '${name}' ${what}${shownDifferences(differences)} Use the codec it was made with, or another topic.`,
    { details: { topic: name, found, wanted: codec, differences } },
  )
}
