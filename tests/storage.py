"""Storage that misbehaves on purpose. The fixture `faulty` puts it, empty, at `faulty://`."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.memory import MemoryFileSystem


class Faulty(MemoryFileSystem):
    """Storage in memory whose every call may be made to fail: `fault(operation, path)` raises or not."""

    protocol = "faulty"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    calls: list[tuple[str, str]] = []

    @staticmethod
    def fault(operation: str, path: str) -> None:
        return None

    @classmethod
    def _did(cls, operation: str, path: str) -> None:
        cls.calls.append((operation, str(path)))
        cls.fault(operation, str(path))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._did("write", path)
        super().pipe_file(path, value, mode=mode, **kwargs)

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        self._did("write", rpath)
        super().put_file(lpath, rpath, **kwargs)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._did("write", path2)
        super().cp_file(path1, path2, **kwargs)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        self._did("read", path)
        return super().cat_file(path, start=start, end=end, **kwargs)

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        self._did("read", rpath)
        super().get_file(rpath, lpath, **kwargs)

    def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self._did("list", path)
        return super().find(path, *args, **kwargs)
