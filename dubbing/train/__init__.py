"""Training of the networks in `dubbing.networks` on shards made by `dub dataset prepare`: `dub train`.

    recipe.py      what there is to learn: the protocol that every design fulfils
    recipes/       one file per design
    state.py       networks, optimisers and precision of one process: what a recipe works on
    loop.py        the run: epochs, held-out speakers, checkpoints, stopping
    sampler.py     which clip when; checkpoints.py: what a killed run leaves; logs.py: what people read
    processes.py   one process or several (the only file here that knows Ray)

Nothing is imported here: torch is large.
"""
