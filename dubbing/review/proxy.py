"""Stand-in until proxies are merged."""


class Proxies:
    def __init__(self, *a):
        pass

    def ask(self, *a, **k):
        return {"state": "failed", "error": "not yet"}

    def thumb(self, shown):
        return b""

    def still(self, *a):
        return b""

    def path(self, name):
        return None

    def close(self):
        pass
