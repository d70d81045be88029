"""`./gems verify`: laws 1 to 3 on an instance's own rows, while it runs, by SQL of its own and not by the services' code.

    scope               which symbols and UTC days hold anything
    moment              snapshots, and the trades that only one of the readers has yet
    bars, barchecks     law 3, a symbol and a day at a time
    ids, idchecks       laws 1 and 2, by runs of ids
    stream              laws 1 and 2: positions, counters, letters, indexes
    pairs, rowchecks    --deep: pair rows again from bars
    run                 all of it in order -> report -> screen
    repair              marks and records what can be mended
"""
