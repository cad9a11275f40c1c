"""raw, text, json, custom and struct: their bytes, their fingerprints, and what they refuse. Structs are compared with TypeScript's own."""

import json as plain_json
import math
import os
import tempfile
import unittest

from .support import node, refused
import hermes_mq
from hermes_mq import codecs, custom, json, raw, struct, text

#: Struct codecs of TypeScript, each with values as JSON (as its toJSON writes them) and their payloads.
EXPORT = """
import * as h from './dist/index.js'
const Level = h.struct({ price: h.f64, size: h.u32 }, { name: 'Level' })
const cases = [
  [h.struct({ symbol: h.ascii(8), price: h.f64, size: h.u32 }, { name: 'Trade' }),
    [{ symbol: 'BTC', price: 50000, size: 3 }, { symbol: '', price: -0.5, size: 4294967295 }]],
  [h.struct({ a: h.u8, b: h.i8, c: h.u16, d: h.i16, e: h.u32, f: h.i32, g: h.u64, i: h.i64, j: h.u53, k: h.i53, l: h.f32, m: h.f64, n: h.bool }),
    [{ a: 255, b: -128, c: 65535, d: -32768, e: 4294967295, f: -2147483648, g: 2n ** 64n - 1n, i: -(2n ** 63n), j: 2 ** 53 - 1,
      k: -(2 ** 53 - 1), l: 0.5, m: Math.PI, n: true },
     { a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0n, i: 0n, j: 0, k: 0, l: 0, m: 0, n: false }]],
  [h.struct({ flag: h.bool, side: h.enumeration(['buy', 'sell', 'p\\u00e9age "x"\\u0001\\\\']), note: h.utf8(10), key: h.bytes(3), best: Level,
      depth: h.array(Level, 3), grid: h.array(h.array(h.u16, 2), 2), text: h.varUtf8() }, { name: 'Book' }),
    [{ flag: true, side: 'sell', note: 'gr\\u00fc\\u00df', key: Buffer.from([1, 0, 255]), best: { price: 1, size: 2 },
      depth: [{ price: 1, size: 1 }, { price: 2, size: 2 }, { price: 3, size: 3 }], grid: [[1, 2], [3, 4]], text: 'to the \\u0000 end \\u{1F600}' },
     { flag: false, side: 'buy', note: '', key: Buffer.from([0, 0, 0]), best: { price: 0, size: 0 },
      depth: [{ price: 0, size: 0 }, { price: 0, size: 0 }, { price: 0, size: 0 }], grid: [[0, 0], [0, 0]], text: '' }]],
  [h.struct({ id: h.u16, rest: h.varBytes() }), [{ id: 7, rest: Buffer.from('bytes') }, { id: 7, rest: Buffer.alloc(0) }]],
  [h.struct({ id: h.u8, levels: h.varArray(Level) }), [{ id: 1, levels: [{ price: 5, size: 6 }, { price: 7, size: 8 }] }, { id: 2, levels: [] }]],
  [h.struct({ many: h.enumeration(Array.from({ length: 300 }, (_, n) => 'label' + n)) }), [{ many: 'label299' }, { many: 'label0' }]],
  [h.struct({ odd: h.enumeration(['half \\ud83d', 'whole \\u{1F600}', '\\u007f\\u2028']) }), [{ odd: 'whole \\u{1F600}' }]],
]
const out = cases.map(([codec, values]) => ({
  schema: JSON.stringify(codec.schema),
  values: values.map((value) => {
    const encoder = new h.Encoder(codec, { capacity: 4096 })
    encoder.encode(value)
    const bytes = Buffer.from(encoder.bytes)
    const length = bytes.readUInt32LE(24)
    const region = { bytes, data: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) }
    return { hex: bytes.subarray(32, 32 + length).toString('hex'), json: codec.reader().read(region, 32, length).toJSON() }
  }),
}))
process.stdout.write(JSON.stringify({ cases: out, simple: [h.raw, h.text, h.json, h.msgpack].map((one) => [one.name, one.fingerprint]),
  custom: h.custom({ name: 'proto', fingerprint: 'v1', encode: (value) => value, decode: (bytes) => bytes }).fingerprint }))
"""


def from_js(kind, value):
    """A field's value as Python has it, of the JSON that TypeScript writes."""
    import base64

    if kind["type"] in ("u64", "i64"):
        return int(value)
    if kind["type"] in ("bytes", "varBytes"):
        return base64.b64decode(value)
    if kind["type"] in ("array", "varArray"):
        return [from_js(kind["element"], one) for one in value]
    if kind["type"] == "struct":
        return {field["name"]: from_js(field, value[field["name"]]) for field in kind["fields"]}
    return value


class Simple(unittest.TestCase):
    def test_values_come_back(self):
        for codec, values in (
            (raw, [b"", b"\x00\xff", bytes(1000)]),
            (text, ["", "a", "\ufeffgr\u00fc\u00df \U0001f600\0"]),
            (json, [None, True, 1.5, "x", [], {"a": [1, {"b": None}]}, "\u2028", 2**60]),
        ):
            for value in values:
                payload = codec.encode(value)
                self.assertIs(type(payload), bytes)
                self.assertEqual(codec.decode(payload), value)

    def test_raw_takes_every_kind_of_bytes(self):
        for value in (b"ab", bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a-b-")[::2]):
            self.assertEqual(raw.encode(value), b"ab")

    def test_what_cannot_be_written_is_refused(self):
        cycle = []
        cycle.append(cycle)
        for codec, value in (
            (raw, "text"),
            (raw, 5),
            (text, b"bytes"),
            (text, "\ud800"),
            (json, {1, 2}),
            (json, math.nan),
            (json, math.inf),
            (json, cycle),
            (json, "\udfff"),
        ):
            with self.subTest(codec=codec.name, value=repr(value)[:30]), refused(self, "ENCODE_FAILED", "codec"):
                codec.encode(value)

    def test_payloads_that_are_no_such_value_are_refused(self):
        for codec, payload in (
            (text, b"\xff"),
            (json, b""),
            (json, b"{"),
            (json, b"NaN"),
            (json, b'"\xff"'),
            (json, b"[" * 100_000),
            (json, b"\xef\xbb\xbf1"),
        ):
            with self.subTest(codec=codec.name, payload=payload[:10]), refused(self, "DECODE_FAILED", "codec"):
                codec.decode(payload)

    def test_custom_codecs_do_what_their_functions_do(self):
        numbers = custom("numbers", "v1", lambda value: str(value).encode(), int)
        self.assertEqual(numbers.decode(numbers.encode(42)), 42)
        with refused(self, "DECODE_FAILED"):
            numbers.decode(b"x")
        with refused(self, "ENCODE_FAILED"):
            custom("wrong", "v1", lambda value: value, int).encode(5)
        for name in ("json", "Upper", "", "1st", "a b"):
            with refused(self, "INVALID_ARGUMENT"):
                custom(name, "v1", bytes, bytes)

    def test_msgpack_is_refused_with_the_reason(self):
        with self.assertRaises(hermes_mq.HermesError) as caught:
            codecs.checked_codec("msgpack")
        self.assertEqual(caught.exception.code, "UNSUPPORTED")
        self.assertIn("standard library", caught.exception.message)

    def test_codecs_go_by_name_too(self):
        self.assertIs(codecs.checked_codec("text"), text)
        for wrong in ("xml", "struct", 5, None, dict):
            with refused(self, "INVALID_ARGUMENT"):
                codecs.checked_codec(wrong)


class LikeTypeScript(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.exported = plain_json.loads(node(EXPORT))

    def test_fingerprints_are_the_same(self):
        known = dict(self.exported["simple"])
        for codec in (raw, text, json):
            self.assertEqual(codec.fingerprint, known[codec.name])
        self.assertEqual(custom("proto", "v1", bytes, bytes).fingerprint, self.exported["custom"])

    def test_schemas_come_out_as_they_went_in(self):
        for case in self.exported["cases"]:
            codec = struct(case["schema"])
            self.assertEqual(plain_json.dumps(codec.schema), plain_json.dumps(plain_json.loads(case["schema"])))

    def test_payloads_are_the_same_bytes_both_ways(self):
        for case in self.exported["cases"]:
            schema = plain_json.loads(case["schema"])
            codec = struct(schema)
            for one in case["values"]:
                value = from_js({"type": "struct", "fields": schema["fields"]}, one["json"])
                with self.subTest(schema.get("name"), value=value):
                    self.assertEqual(codec.encode(value).hex(), one["hex"])
                    self.assertEqual(codec.decode(bytes.fromhex(one["hex"])), value)

    def test_a_schema_may_lie_in_a_file(self):
        schema = self.exported["cases"][0]["schema"]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trade.schema.json")
            with open(path, "w", encoding="utf-8") as file:
                file.write(schema)
            self.assertEqual(struct(path).fingerprint, "b089e4b12163fd26")
            with refused(self, "NOT_FOUND"):
                struct(path + "x")


TRADE = {
    "format": "hermes-struct",
    "version": 1,
    "name": "Trade",
    "fingerprint": "b089e4b12163fd26",
    "size": 24,
    "align": 8,
    "fields": [
        {"name": "symbol", "offset": 0, "type": "ascii", "size": 8},
        {"name": "price", "offset": 8, "type": "f64", "size": 8},
        {"name": "size", "offset": 16, "type": "u32", "size": 4},
    ],
}


def schema_of(fields, size, align):
    """A schema with its fingerprint."""
    shape = {"size": size, "align": align, "fields": fields}
    text_ = plain_json.dumps(shape, separators=(",", ":"), ensure_ascii=False)
    return {"format": "hermes-struct", "version": 1, "fingerprint": codecs.fingerprint_of(text_), **shape}


class Structs(unittest.TestCase):
    def test_the_worked_example_of_the_documentation(self):
        codec = struct(TRADE)
        payload = codec.encode({"symbol": "BTC", "price": 50_000, "size": 3, "further": "ignored"})
        self.assertEqual(payload.hex(), "4254430000000000" "00000000006ae840" "0300000000000000")
        self.assertEqual(codec.byte_length, 24)

    def test_values_that_do_not_fit_are_refused_with_the_field_s_name(self):
        codec = struct(TRADE)
        good = {"symbol": "BTC", "price": 1.5, "size": 3}
        for field, values in {
            "symbol": [None, 5, "123456789", "\u00fc", "a\0b", b"BTC"],
            "price": [None, "1", True, [], 10**400],
            "size": [None, -1, 2**32, 1.5, 1.0, True, "3"],
        }.items():
            for value in values:
                with self.subTest(field=field, value=repr(value)[:20]):
                    with self.assertRaises(hermes_mq.HermesError) as caught:
                        codec.encode({**good, field: value})
                    self.assertEqual(caught.exception.code, "ENCODE_FAILED")
                    self.assertEqual(caught.exception.details["field"], field)
            missing = {key: value for key, value in good.items() if key != field}
            with refused(self, "ENCODE_FAILED", "field"):
                codec.encode(missing)
        with refused(self, "ENCODE_FAILED"):
            codec.encode([1, 2, 3])

    def test_the_field_of_a_nested_value_is_named(self):
        level = {"size": 16, "align": 8, "fields": [{"name": "price", "offset": 0, "type": "f64", "size": 8}, {"name": "n", "offset": 8, "type": "u8", "size": 1}]}
        fields = [{"name": "levels", "offset": 0, "type": "varArray", "element": {"type": "struct", **level}}]
        codec = struct(schema_of(fields, 0, 8))
        with self.assertRaises(hermes_mq.HermesError) as caught:
            codec.encode({"levels": [{"price": 1, "n": 1}, {"price": 1, "n": 256}]})
        self.assertEqual(caught.exception.details["field"], "levels[1].n")

    def test_payloads_of_another_length_are_refused(self):
        codec = struct(TRADE)
        for length in (0, 23, 25):
            with refused(self, "DECODE_FAILED", "size", "length"):
                codec.decode(bytes(length))

    def test_bytes_that_no_value_has_are_refused(self):
        safe = struct(schema_of([{"name": "n", "offset": 0, "type": "u53", "size": 8}], 8, 8))
        self.assertEqual(safe.decode((2**53 - 1).to_bytes(8, "little")), {"n": 2**53 - 1})
        with refused(self, "DECODE_FAILED"):
            safe.decode((2**53).to_bytes(8, "little"))
        label = struct(schema_of([{"name": "e", "offset": 0, "type": "enum", "size": 1, "labels": ["a", "b"]}], 1, 1))
        with refused(self, "DECODE_FAILED"):
            label.decode(b"\x02")
        for symbol in (b"\xff", b"a\0b", b"\0b"):
            with refused(self, "DECODE_FAILED"):
                struct(TRADE).decode(symbol + bytes(24 - len(symbol)))

    def test_floats_keep_what_ieee_754_has(self):
        codec = struct(schema_of([{"name": "d", "offset": 0, "type": "f64", "size": 8}, {"name": "s", "offset": 8, "type": "f32", "size": 4}], 16, 8))
        back = codec.decode(codec.encode({"d": -0.0, "s": math.inf}))
        self.assertEqual(math.copysign(1, back["d"]), -1)
        self.assertEqual(back["s"], math.inf)
        self.assertTrue(math.isnan(codec.decode(codec.encode({"d": math.nan, "s": 0}))["d"]))
        with refused(self, "ENCODE_FAILED"):
            codec.encode({"d": 0, "s": 1e39})

    def test_numbers_of_a_schema_may_be_written_as_floats(self):
        def floats(value):
            if type(value) is int:
                return float(value)
            if isinstance(value, list):
                return [floats(one) for one in value]
            return {key: floats(one) for key, one in value.items()} if isinstance(value, dict) else value

        self.assertEqual(struct(floats(TRADE)).fingerprint, TRADE["fingerprint"])

    def test_schemas_that_lie_are_refused(self):
        def changed(**changes):
            return {**TRADE, **changes}

        fields = TRADE["fields"]
        deep = {"type": "u8", "size": 1}
        for _ in range(40):
            deep = {"type": "array", "size": 1, "count": 1, "element": deep}
        for wrong in (
            changed(fingerprint="0" * 16),
            changed(format="other"),
            changed(version=2),
            changed(size=32),
            changed(align=4),
            changed(fields=[]),
            changed(fields=None),
            changed(fields=[*fields, fields[0]]),
            changed(fields=[{**fields[0], "offset": 1}, *fields[1:]]),
            changed(fields=[{**fields[0], "size": 0}, *fields[1:]]),
            changed(fields=[{**fields[0], "size": 70_000}, *fields[1:]]),
            changed(fields=[{**fields[0], "name": "a b"}, *fields[1:]]),
            changed(fields=[{**fields[0], "name": "toJSON"}, *fields[1:]]),
            changed(fields=[{**fields[0], "type": "u128"}, *fields[1:]]),
            changed(fields=[{**fields[0], "type": ["u8"]}, *fields[1:]]),
            changed(name="a b"),
            changed(name=5),
            changed(name=None),
            changed(size=1.5),
            changed(align=True),
            changed(fields=[{"name": "x", "offset": 0, **deep}]),
            changed(fields=[{"name": "x", "offset": 0, "type": "array", "size": 0, "count": 0, "element": deep}]),
            changed(fields=[{"name": f"f{n}", "offset": n, "type": "u8", "size": 1} for n in range(2000)]),
            changed(fields=[{"name": "v", "offset": 0, "type": "varBytes"}, {"name": "w", "offset": 0, "type": "u8", "size": 1}]),
            "{",
            "{}",
            [],
            5,
        ):
            with self.subTest(str(wrong)[:80]), refused(self, "INVALID_ARGUMENT"):
                struct(wrong)


if __name__ == "__main__":
    unittest.main()
