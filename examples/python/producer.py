"""Publishes trades to a broker, for a consumer in TypeScript: see consumer.ts.

    PYTHONPATH=clients/python python3 examples/python/producer.py [tcp://host:port] [trade.schema.json]
"""

import sys

import hermes_mq

url = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:9000"
schema = sys.argv[2] if len(sys.argv) > 2 else "trade.schema.json"

SYMBOLS = ["BTC", "ETH", "SOL"]


def trades(count):
    for n in range(count):
        yield {"symbol": SYMBOLS[n % 3], "side": "sell" if n % 2 else "buy", "price": 100 + n / 4, "size": n % 7 + 1}


with hermes_mq.connect(url) as client:
    # The layout comes from the file that the consumer has written; another one would be refused with CODEC_MISMATCH.
    topic = client.topic("trades", hermes_mq.struct(schema))
    with topic.publisher() as publisher:
        publisher.publish_batch(trades(999))
        # One more, and a look at what became of it. Many of these may be under way.
        receipt = publisher.publish_acked({"symbol": "END", "side": "buy", "price": 0, "size": 0}).result()
        print(f"published {receipt.sequence} trades")
