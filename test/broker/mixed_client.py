"""A publisher or a subscriber of test/broker/mixed.test.ts, in Python.

    mixed_client.py publish <url> <name> <messages per round>     as mixed-publisher.mjs
    mixed_client.py subscribe <url> <messages>                    prints {"hash", "orders"} of what it has received
"""

import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "clients", "python"))

import hermes_mq  # noqa: E402


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def payload(name, n):
    return f"{name}:{n}:{'.' * (n % 97)}".encode()


def publish(topic, name, messages):
    with topic.publisher() as publisher:
        say("ready")
        number = 0
        for done, _ in enumerate(sys.stdin, 1):
            last = number + messages
            while number < last:
                if number % 100 < 50:
                    publisher.publish(payload(name, number))
                    number += 1
                else:
                    end = min(number + 50, last)
                    publisher.publish_batch(payload(name, n) for n in range(number, end))
                    number = end
            publisher.flush()
            say(done)


def subscribe(topic, messages):
    digest = hashlib.sha256()
    orders = {}
    with topic.subscriber("earliest") as subscriber:
        say("ready")
        left = messages
        for batch in subscriber.batches(1000):
            for message in batch:
                digest.update(message.sequence.to_bytes(8, "little"))
                digest.update(message.value)
                name, number, _ = message.value.decode().split(":")
                if orders.setdefault(name, 0) == int(number):
                    orders[name] += 1
            left -= len(batch)
            if left <= 0:
                break
    say(json.dumps({"hash": digest.hexdigest(), "orders": orders}))


verb, url, *rest = sys.argv[1:]
with hermes_mq.connect(url) as client:
    mixed = client.topic("mixed", "raw")
    if verb == "publish":
        publish(mixed, rest[0], int(rest[1]))
    else:
        subscribe(mixed, int(rest[0]))
