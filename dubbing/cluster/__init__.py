"""A run on somebody else's machines: handed to a Ray cluster through its Jobs API, looked at, stopped.

`submission` says what travels, and knows no Ray; `access` finds the address and the token; `jobs` talks to
the cluster. How a run is done there is not known here: the cluster runs `dub run`.
"""
