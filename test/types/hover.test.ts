import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { root } from '../helpers/folder.js'

const source = `
import { ascii, f64, type InputOf, struct, u64, type ValueOf, type ViewOf } from '../../lib/index.js'
const Quote = struct({ symbol: ascii(8), price: f64, id: u64 })
type Value = ValueOf<typeof Quote>
type Input = InputOf<typeof Quote>
type View = ViewOf<typeof Quote>
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
  const program = ts.createProgram([file], options, host)
  const checker = program.getTypeChecker()
  const shown: Record<string, string> = {}
  const { NoTruncation, InTypeAlias } = ts.TypeFormatFlags
  program.getSourceFile(file)?.forEachChild((node) => {
    if (!ts.isTypeAliasDeclaration(node)) return
    shown[node.name.text] = checker.typeToString(checker.getTypeAtLocation(node), node, NoTruncation | InTypeAlias)
  })
  const fields = (prefix: string) => `${prefix}symbol: string; ${prefix}price: number; ${prefix}id: bigint;`
  expect(shown['Value']).toBe(`{ ${fields('')} }`)
  expect(shown['Input']).toBe(`{ ${fields('readonly ')} }`)
  expect(shown['View']).toMatch(/^\{ readonly symbol: string; readonly price: number; readonly id: bigint; /)
  expect(shown['View']).toContain(`toObject: () => { ${fields('')} }`)
  expect(shown['View']).not.toMatch(/import\(|Field</)
}, 60_000)
