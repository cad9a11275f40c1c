import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { root } from '../helpers/folder.js'

const source = `
import { ascii, f64, type Hermes, type InputOf, struct, u64, type ValueOf, type ViewOf } from '../../lib/index.js'
const Quote = struct({ symbol: ascii(8), price: f64, id: u64 })
type Value = ValueOf<typeof Quote>
type Input = InputOf<typeof Quote>
type View = ViewOf<typeof Quote>
const Nested = struct({ quote: Quote, at: struct({ venue: ascii(4) }) })
type NestedValue = ValueOf<typeof Nested>
type NestedInput = InputOf<typeof Nested>
declare const hermes: Hermes
const topic = hermes.topic('t', { codec: Nested })
type TopicType = typeof topic
type PublisherType = Awaited<ReturnType<typeof topic.publisher>>
type SubscriberType = Awaited<ReturnType<typeof topic.subscriber>>
type Reused = InputOf<typeof Quote>
const reused: Reused = { symbol: 'BTC', price: 1, id: 1n }
reused.price = 2
const frozen: Readonly<Reused> = reused
hermes.topic('q', { codec: Quote }).publisher().then((publisher) => publisher.publish(frozen))
`

test('an editor shows the fields of what a codec takes and gives', () => {
  const file = join(root, 'test', 'types', 'shown.ts')
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = (path) => path === file || fileExists(path)
  host.getSourceFile = (path, language, ...rest) =>
    path === file ? ts.createSourceFile(path, source, language) : getSourceFile(path, language, ...rest)
  const program = ts.createProgram([file], { ...options, noUnusedLocals: false }, host)
  const checker = program.getTypeChecker()
  const complaints = program.getSemanticDiagnostics(program.getSourceFile(file))
  expect(complaints.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))).toEqual([])
  const shown: Record<string, string> = {}
  const { NoTruncation, InTypeAlias } = ts.TypeFormatFlags
  program.getSourceFile(file)?.forEachChild((node) => {
    if (!ts.isTypeAliasDeclaration(node)) return
    shown[node.name.text] = checker.typeToString(checker.getTypeAtLocation(node), node, NoTruncation | InTypeAlias)
  })
  const fields = (prefix: string) => `${prefix}symbol: string; ${prefix}price: number; ${prefix}id: bigint;`
  expect(shown['Value']).toBe(`{ ${fields('')} }`)
  // An object may be filled again for each message, and a frozen one is taken too.
  expect(shown['Input']).toBe(`{ ${fields('')} }`)
  expect(shown['View']).toMatch(/^\{ readonly symbol: string; readonly price: number; readonly id: bigint; /)
  expect(shown['View']).toContain(`toObject: () => { ${fields('')} }`)
  expect(shown['View']).not.toMatch(/import\(|Field</)
  const nested = `{ quote: { ${fields('')} }; at: { venue: string; }; }`
  expect(shown['NestedValue']).toBe(nested)
  expect(shown['NestedInput']).toBe(nested)
  for (const name of ['TopicType', 'PublisherType', 'SubscriberType']) {
    expect(shown[name], name).not.toMatch(/Struct\w+<|Shown<|Field</)
    expect(shown[name], name).toContain(nested)
  }
}, 60_000)
