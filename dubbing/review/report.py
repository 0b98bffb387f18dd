"""placeholder"""
__all__ = ["report"]
from dubbing.review.library import Library
def report(library: Library) -> str:
    """x"""
    return "<html></html>"
