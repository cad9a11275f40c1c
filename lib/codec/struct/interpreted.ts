import type { Region } from '../codec.js'
import type { StructCode } from './code.js'
import type { GenerateHooks } from './generate.js'
import { readRecord, readTrailing, readValue } from './interpret.js'
import type { RecordLayout } from './layout.js'

/** The same parts as `generate` makes, for a process that forbids code generation. The bytes are the same. */
export function interpreted(layout: RecordLayout, hooks: GenerateHooks): StructCode {
  let bindView: StructCode['bind'] = () => undefined

  class StructView {
    #region: Region | undefined = undefined
    #at = 0
    #length = 0

    static {
      bindView = (view, region, offset, length) => {
        const own = view as StructView
        own.#region = region
        own.#at = offset
        own.#length = length
      }
      for (const { name, offset, type } of layout.fields) {
        if (type.kind === 'struct') {
          const binder = hooks.nested(type)
          const views = new WeakMap<StructView, object>()
          define(StructView.prototype, name, (self) => {
            const view = views.get(self) ?? binder.create()
            views.set(self, view)
            binder.bind(view, self.#region as Region, self.#at + offset, type.size)
            return view
          })
        } else {
          define(StructView.prototype, name, (self) => readValue(type, self.#region as Region, self.#at + offset))
        }
      }
      const rest = layout.trailing
      if (rest !== undefined) {
        define(StructView.prototype, rest.name, (self) =>
          readTrailing(rest.type, self.#region as Region, self.#at + layout.size, self.#length - layout.size),
        )
      }
    }

    toObject(): Record<string, unknown> {
      try {
        return readRecord(layout, this.#region as Region, this.#at, this.#length)
      } catch (error) {
        throw hooks.readError(error)
      }
    }

    toJSON(): Record<string, unknown> {
      return hooks.toJson(this.toObject())
    }

    [Symbol.for('nodejs.util.inspect.custom')](_depth: number, options: unknown): unknown {
      return hooks.inspect(this, options)
    }
  }

  function define(prototype: object, name: string, read: (self: StructView) => unknown): void {
    Object.defineProperty(prototype, name, {
      configurable: true,
      get(this: StructView): unknown {
        try {
          return read(this)
        } catch (error) {
          throw hooks.readError(error)
        }
      },
    })
  }

  return {
    encode: hooks.slowEncode,
    decode(source, offset, length) {
      hooks.checkLength(length)
      try {
        return readRecord(layout, source, offset, length)
      } catch (error) {
        throw hooks.readError(error)
      }
    },
    create: () => new StructView(),
    bind: bindView,
  }
}
