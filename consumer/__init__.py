"""Stream -> PostgreSQL. Workers of the group `writers` store every trade once.

In: entries of the streams of trades. Out: rows of `raw_ticks`; what no table takes goes to `dead_letters` with its reason.
Nothing is lost: an entry is acknowledged after its transaction has committed. Anything may be repeated: twice in is once stored.
"""
