"""The notifier: takes alert deliveries from the outbox to their receivers, at least once, in order for each receiver.

schedule.py decides (pure); webhook.py and apprise.py carry; turns.py runs a receiver's turn in a thread; store.py is its
SQL; service.py is the loop. It imports no numbers: at rest it is small.
"""
