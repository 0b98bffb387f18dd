"""Runs on a Ray cluster: submitted through its Jobs API, watched, stopped.

`submission` says what travels, and knows no Ray; `access` finds the address and the token; `jobs` talks to
the cluster. The cluster itself runs `dub run`.
"""
