"""What the package promises of itself: Python 3.9, the standard library alone, types, and the codes of the TypeScript package."""

import ast
import os
import re
import sys
import unittest

from .support import ROOT
import hermes_mq
import hermes_mq.aio

PACKAGE = os.path.join(ROOT, "clients", "python", "hermes_mq")
#: Names that came with Python 3.10 or later, in modules that are used here.
NEWER = {"pairwise", "batched", "TaskGroup", "timeout_at", "Runner", "aiter", "anext", "StrEnum", "ExceptionGroup", "Self", "TypeAlias", "ParamSpec", "override"}


def sources():
    for folder in (PACKAGE, os.path.dirname(__file__)):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    yield name, file.read()


class Source(unittest.TestCase):
    def test_every_file_is_python_3_9(self):
        for name, text in sources():
            with self.subTest(name):
                tree = ast.parse(text, name, feature_version=(3, 9))
                used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
                used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
                used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
                self.assertEqual(used & NEWER, set())
                for node in ast.walk(tree):
                    # Evaluated when the module is loaded: X | Y of types is of 3.10, and dataclass(slots=…) and zip(strict=…) too.
                    if isinstance(node, ast.Call):
                        self.assertFalse({"slots", "kw_only", "strict"} & {keyword.arg for keyword in node.keywords})
                    for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
                        if annotation is not None:
                            self.assertFalse([x for x in ast.walk(annotation) if isinstance(x, ast.BinOp)], ast.dump(annotation))

    def test_only_the_standard_library_is_imported(self):
        known = getattr(sys, "stdlib_module_names", None)
        if known is None:
            self.skipTest("this Python does not know its own modules' names")
        for name, text in sources():
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules = [node.module]
                else:
                    continue
                for module in modules:
                    self.assertIn(module.split(".")[0], {*known, "hermes_mq"}, name)

    def test_everything_public_has_types(self):
        self.assertTrue(os.path.exists(os.path.join(PACKAGE, "py.typed")))
        for name, text in sources():
            if not os.path.exists(os.path.join(PACKAGE, name)):
                continue
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    continue
                self.assertIsNotNone(node.returns, f"{name}: {node.name}")
                arguments = [*node.args.args, *node.args.kwonlyargs]
                untyped = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls", "_")]
                self.assertEqual(untyped, [], f"{name}: {node.name}")

    def test_the_error_codes_are_those_of_typescript(self):
        with open(os.path.join(ROOT, "lib", "base", "errors.ts"), encoding="utf-8") as file:
            listed = file.read().split("export const errorCodes = [")[1].split("] as const")[0]
        self.assertEqual(set(re.findall(r"^\s+'([A-Z_]+)',", listed, re.MULTILINE)), set(hermes_mq.ERROR_CODES))

    def test_the_version_is_that_of_the_npm_package(self):
        import json

        with open(os.path.join(ROOT, "package.json"), encoding="utf-8") as file:
            version = json.load(file)["version"]
        self.assertEqual(hermes_mq.__version__, version)
        with open(os.path.join(PACKAGE, "..", "pyproject.toml"), encoding="utf-8") as file:
            self.assertIn(f'version = "{version}"', file.read())

    def test_both_clients_have_the_same_surface(self):
        for name in ("Client", "Topic", "Publisher", "Subscriber", "Group"):
            public = [
                {member for member in dir(getattr(module, name)) if not member.startswith("_")} for module in (hermes_mq, hermes_mq.aio)
            ]
            self.assertEqual(public[0], public[1], name)

    def test_every_public_name_is_there(self):
        for name in hermes_mq.__all__:
            self.assertTrue(hasattr(hermes_mq, name), name)


if __name__ == "__main__":
    unittest.main()
