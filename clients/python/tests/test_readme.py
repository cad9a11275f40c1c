"""The README's programs run as they stand, and its tables name what is there."""

import inspect
import os
import re
import subprocess
import sys
import unittest

from .support import PATIENCE, ROOT, BrokerCase
import hermes_mq
import hermes_mq.aio

PACKAGE = os.path.join(ROOT, "clients", "python")


def readme():
    with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as file:
        return file.read()


class Readme(BrokerCase):
    def test_its_programs_run(self):
        programs = [text for text in re.findall(r"^```python\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL) if "import" in text]
        self.assertEqual(len(programs), 2)
        for number, program in enumerate(programs):
            program = program.replace("tcp://127.0.0.1:9000", self.broker.url)
            done = subprocess.run(
                [sys.executable, "-B", "-c", program],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
                env={**os.environ, "PYTHONPATH": PACKAGE},
            )
            first = 2 * number + 1
            self.assertEqual((done.stdout, done.stderr), (f"{first + 1}\n{first} hello\n{first + 1} world\n", ""))

    def test_its_options_are_those_of_connect(self):
        section = readme().split("## Connecting")[1].split("\n## ")[0]
        listed = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
        parameters = set(inspect.signature(hermes_mq.connect).parameters) - {"url"}
        self.assertEqual(listed, parameters)
        self.assertEqual(set(inspect.signature(hermes_mq.aio.connect).parameters) - {"url"}, parameters)

    def test_its_calls_are_there(self):
        for title, owner in (("## Publishing", hermes_mq.Publisher), ("## Subscribing", hermes_mq.Subscriber)):
            section = readme().split(title)[1].split("\n## ")[0]
            for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
                for name in re.findall(r"`(\w+)[(`]", row):
                    self.assertTrue(hasattr(owner, name), f"{title}: {name}")


if __name__ == "__main__":
    unittest.main()
