"""Faults made on purpose in real commands, and whether anything is lost, doubled or left to be repaired by hand.

    make torture                                     # every kind, both databases
    make torture TORTURE_FLAGS="--faults 60 --database sqlite"
    make torture TORTURE_FLAGS="--only kill_write --seed 7 --database postgresql"    # one fault again

Homes are prepared once. Each fault gets a fresh copy, one command that meets it, and then the same command once more,
as a schedule would call it; every table, every feature and every file of the lake must be as after an undisturbed run.

- `kinds.py`: the kinds of faults, and how a seed chooses one; `campaign.py`: one fault after another, results, table
- `jobs.py`: the commands and the homes that they start from; `contents.py`: what is compared, and what may differ
- `server.py`: forks commands; `hook.py` and `shim.c`: what does harm inside them
- `servers.py`: PostgreSQL and S3, and what can go wrong with them

It needs a C compiler. Without root the kinds that mount a small disk are left out.
"""
