"""The member of test/process/group-soak.test.ts in Python: as soak-member.mjs."""

import asyncio
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "clients", "python"))

import hermes_mq  # noqa: E402
from hermes_mq import aio  # noqa: E402


async def main(options):
    journal = os.open(options["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what, job, **more):
        line = {
            "what": what,
            "instance": options["instance"],
            "n": job.value["n"],
            "key": job.value["key"],
            "sequence": job.sequence,
            "deliveries": job.deliveries,
            "at": time.monotonic_ns(),
            **more,
        }
        os.write(journal, (json.dumps(line) + "\n").encode())

    client = await aio.connect(options["place"], reconnect_min=0.005, reconnect_max=0.05)
    more = {"key": "key"} if options["kind"] == "keyed" else {}
    group = await client.topic("soak", "json").group(
        "members",
        lease=options["leaseMs"] / 1000,
        max_in_flight=options["maxInFlight"],
        max_deliveries=0,
        backoff=0.001,
        member=options["instance"],
        **more,
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def heard():
        for line in os.read(0, 4096).decode().split("\n"):
            if line == "end":
                ended.set()
            elif line.startswith("block "):
                # The event loop does not turn meanwhile.
                time.sleep(float(line[6:]) / 1000)

    loop.add_reader(0, heard)
    print(json.dumps({"is": "ready"}), flush=True)
    while not ended.is_set():
        job = await group.receive(0.05)
        if job is None:
            continue
        note("got", job)
        await asyncio.sleep(random.random() * options["workMs"] / 1000)
        fails = job.deliveries == 1 and job.value["n"] % 97 == 0
        note("returning" if fails else "settling", job)
        try:
            await (job.nack(0.0) if fails else job.ack())
            note("returned" if fails else "settled", job)
        except hermes_mq.HermesError as error:
            note("failed", job, code=error.code)
    await group.close()
    await client.close()


asyncio.run(main(json.loads(sys.argv[1])))
