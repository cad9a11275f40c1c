"""Values with code of their own, at random: each call accepts a value and delivers the plain one that it stands for, or raises a HermesError."""

import itertools
import json as plain_json
import math
import os
import random
import unittest
from collections import OrderedDict, UserDict
from datetime import datetime, timedelta, timezone, tzinfo

from .support import ROOT  # noqa: F401  (finds the package)
from hermes_mq import HermesError, struct
from hermes_mq.codecs import custom, described, json, raw, text
from hermes_mq.options import check_batch, check_topic_name
from hermes_mq.types import from_to_wire

ROUNDS = int(os.environ.get("HERMES_FUZZ_ROUNDS", "4000"))
ERRORS = (RuntimeError, KeyError, IndexError, ZeroDivisionError, AttributeError, StopIteration, RecursionError, TypeError, ValueError, OSError)


class Text(str):
    """Says of itself what it is not."""

    def encode(self, *_):
        return b"evil" * 100

    def __contains__(self, _):
        return False

    def __len__(self):
        return 0

    def __eq__(self, _):
        return True

    __hash__ = str.__hash__


class Unhashable(str):
    __hash__ = None


class Number(int):
    def __le__(self, _):
        return True

    __lt__ = __ge__ = __gt__ = __eq__ = __le__
    __hash__ = int.__hash__

    def __index__(self):
        return 7

    def __repr__(self):
        return "evil"


class Real(float):
    def __repr__(self):
        return "evil"


class Octets(bytes):
    def __len__(self):
        return 3

    def __bytes__(self):
        return b"evil"

    def __iter__(self):
        return iter(b"evil")


class Changing(bytearray):
    """Other bytes each time."""

    asked = 0

    def __bytes__(self):
        self.asked += 1
        return b"x" * self.asked


class Items(list):
    def __len__(self):
        return 2


class Raising:
    """Each way to look at it raises."""

    def __init__(self, error):
        self.error = error

    def fail(self, *_):
        raise self.error("hostile")

    __index__ = __float__ = __int__ = __iter__ = __len__ = __repr__ = __str__ = __bytes__ = __eq__ = __bool__ = __getitem__ = fail
    __hash__ = object.__hash__


class RaisingDict(dict):
    def __init__(self, error, *given):
        super().__init__(*given)
        self.error = error

    def get(self, *_):
        raise self.error("hostile")

    items = keys = __iter__ = __getitem__ = __contains__ = get


class RaisingZone(tzinfo):
    def utcoffset(self, _):
        raise RuntimeError("hostile")


def released():
    view = memoryview(b"gone")
    view.release()
    return view


class Chance(random.Random):
    def text(self):
        return "".join(self.choice(("a", "Z", "é", "€", "😀", "\0", "\ud800", " ")) for _ in range(self.randrange(6)))

    def leaf(self):
        """A value, and what it stands for."""
        number = self.choice((0, 1, -1, 255, 256, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**400))
        words = self.text()
        octets = bytes(self.randrange(256) for _ in range(self.randrange(6)))
        return self.choice(
            (
                (words, words),
                (Text(words), words),
                (Unhashable(words), words),
                (Text("buy"), "buy"),
                (Unhashable("buy"), "buy"),
                (number, number),
                (Number(number), number),
                (1.5, 1.5),
                (Real(2.5), 2.5),
                (math.nan, math.nan),
                (True, True),
                (None, None),
                (octets, octets),
                (Octets(octets), octets),
                (Octets(b"12345678"), b"12345678"),
                (bytearray(octets), octets),
                (Changing(octets), octets),
                (Changing(b"12345678"), b"12345678"),
                (memoryview(octets), octets),
                (released(), None),
                (Raising(self.choice(ERRORS)), None),
                (object(), None),
                (itertools.count(), None),
                (complex(1, 2), None),
                ({1, 2}, None),
            )
        )

    def tree(self, depth=0):
        """As `leaf`, with lists and mappings."""
        kind = self.randrange(8)
        if depth > 3 or kind < 4:
            return self.leaf()
        if kind < 6:
            pairs = [self.tree(depth + 1) for _ in range(self.randrange(4))]
            return self.choice((list, tuple, Items))([value for value, _ in pairs]), [plain for _, plain in pairs]
        pairs = [(self.text(), self.tree(depth + 1)) for _ in range(self.randrange(4))]
        given = {key: value for key, (value, _) in pairs}
        plain = {key: plain for key, (_, plain) in pairs}
        return self.choice((given, OrderedDict(given), RaisingDict(self.choice(ERRORS), given), UserDict(given))), plain


SCHEMA = {
    "size": 72,
    "align": 8,
    "fields": [
        {"name": "word", "offset": 0, "type": "ascii", "size": 8},
        {"name": "name", "offset": 8, "type": "utf8", "size": 8},
        {"name": "side", "offset": 16, "type": "enum", "size": 1, "labels": ["buy", "sell"]},
        {"name": "flag", "offset": 17, "type": "bool", "size": 1},
        {"name": "small", "offset": 18, "type": "u16", "size": 2},
        {"name": "safe", "offset": 24, "type": "i53", "size": 8},
        {"name": "large", "offset": 32, "type": "u64", "size": 8},
        {"name": "real", "offset": 40, "type": "f64", "size": 8},
        {"name": "single", "offset": 48, "type": "f32", "size": 4},
        {"name": "octets", "offset": 52, "type": "bytes", "size": 8},
        {"name": "levels", "offset": 60, "type": "array", "size": 3, "count": 3, "element": {"type": "u8", "size": 1}},
        {"name": "at", "offset": 64, "type": "struct", "size": 4, "align": 4, "fields": [{"name": "venue", "offset": 0, "type": "u32", "size": 4}]},
    ],
}
GOOD = {
    "word": "a",
    "name": "b",
    "side": "buy",
    "flag": True,
    "small": 1,
    "safe": 2,
    "large": 3,
    "real": 4.0,
    "single": 0.5,
    "octets": b"12345678",
    "levels": [1, 2, 3],
    "at": {"venue": 9},
    "tail": [1, 2],
}


def schema_of(trailing):
    from hermes_mq.codecs import fingerprint_of

    shape = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "tail", "offset": 72, **trailing}]}
    compact = plain_json.dumps(shape, separators=(",", ":"), ensure_ascii=False)
    return {"format": "hermes-struct", "version": 1, "fingerprint": fingerprint_of(compact), **shape}


def same(found, plain):
    if isinstance(plain, float) and isinstance(found, (int, float)):
        return found == plain or (math.isnan(found) and math.isnan(plain))
    if isinstance(plain, bytes) and isinstance(found, list):
        return bytes(found) == plain
    if isinstance(plain, (list, tuple)):
        return isinstance(found, list) and len(found) == len(plain) and all(map(same, found, plain))
    if isinstance(plain, dict):
        return isinstance(found, dict) and found.keys() == plain.keys() and all(same(found[key], plain[key]) for key in plain)
    return found == plain and isinstance(found, bool) == isinstance(plain, bool)


class Hostile(unittest.TestCase):
    def judge(self, codec, value, plain):
        """Whether it was accepted."""
        try:
            payload = codec.encode(value)
        except HermesError as error:
            self.assertEqual(error.code, "ENCODE_FAILED")
            return False
        self.assertIs(type(payload), bytes)
        found = codec.decode(payload)
        self.assertTrue(same(found, plain), f"{described(found)} for {described(plain)}")
        return True

    def test_values_of_every_codec(self):
        for codec in (raw, text, json):
            accepted = 0
            for seed in range(ROUNDS):
                with self.subTest(codec=codec.name, seed=seed):
                    accepted += self.judge(codec, *Chance(seed).tree())
            self.assertGreater(accepted, ROUNDS // 50, codec.name)

    def test_values_of_structs(self):
        for trailing in ({"type": "varArray", "element": {"type": "u8", "size": 1}}, {"type": "varBytes"}, {"type": "varUtf8"}):
            codec = struct(schema_of(trailing))
            tail = {"varArray": [1, 2], "varBytes": b"xy", "varUtf8": "xy"}[trailing["type"]]
            accepted = 0
            for seed in range(ROUNDS):
                chance = Chance(seed)
                field = chance.choice(tuple(GOOD))
                value, plain = chance.tree()
                if chance.randrange(3) == 0 and field == "at":
                    value, plain = {"venue": value}, {"venue": plain}
                given = {**GOOD, "tail": tail, field: value}
                with self.subTest(trailing=trailing["type"], seed=seed, field=field):
                    whole = {**GOOD, "tail": tail, field: plain}
                    if field == "single" and isinstance(plain, (int, float)) and abs(plain) < 1e30:
                        whole["single"] = float(plain)
                    if field == "at" and isinstance(plain, dict):
                        whole["at"] = {key: one for key, one in plain.items() if key == "venue"}
                    accepted += self.judge(codec, given, whole)
            self.assertGreater(accepted, ROUNDS // 50, trailing["type"])
            for error in ERRORS:
                self.assertFalse(self.judge(codec, RaisingDict(error, GOOD), None))

    def test_functions_of_a_custom_codec(self):
        for seed in range(ROUNDS):
            chance = Chance(seed)
            value, plain = chance.tree()
            with self.subTest(seed=seed):
                try:
                    payload = custom("mine", "1", lambda _: value, bytes).encode(None)
                except HermesError as error:
                    self.assertEqual(error.code, "ENCODE_FAILED")
                else:
                    self.assertIs(type(payload), bytes)
                    self.assertEqual(payload, plain)

    def test_everything_else_that_is_given(self):
        for seed in range(ROUNDS):
            value, _ = Chance(seed).tree()
            with self.subTest(seed=seed):
                self.assertIsInstance(described(value), str)
                for use in (check_topic_name, check_batch, lambda given: from_to_wire("here", given), struct):
                    try:
                        use(value)
                    except HermesError as error:
                        self.assertIn(error.code, ("INVALID_ARGUMENT", "INVALID_NAME", "NOT_FOUND"))
        for when in (datetime(2026, 1, 1, tzinfo=RaisingZone()), datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))):
            with self.assertRaises(HermesError):
                from_to_wire("here", when)
