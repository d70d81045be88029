"""`./gems verify`: laws 1 to 3 on an instance's own rows, while it runs, by SQL of its own and not by the services' code.

    scope   which symbols and UTC days hold anything
    moment  what the aggregators had closed, and which trades only one of the readers has yet
    bars    law 3, a symbol and a day at a time      ids     laws 1 and 2, by runs of ids
    stream  law 1, positions, counters, letters      pairs   --deep: pair rows again from bars
    run     all of it in order                       repair  marks and records what can be mended
"""
