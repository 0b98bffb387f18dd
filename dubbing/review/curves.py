"""Stand-in."""


def curves(*a):
    return {}
