"""Stand-in."""


def report(*a):
    return ""
