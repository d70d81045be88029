"""`./gems chaos`: a private instance under fire, and the proof that the laws held.

    plan     what happens when: pure, by a seed       world    the private instance, and its handles
    processes, stores, venue, clients, poison         the faults, a small class each
    promises what clients were told is stored         storm    plays a plan on a world
    rest     when everything has come to rest         proof    the tables against what was made and promised
    report   the outcome as a table or JSON
"""
