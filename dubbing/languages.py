"""Language tags: whether one is BCP 47, of subtags that the IANA registry lists, and what was meant where it is not.

The registry comes with langcodes. Knows no manifest, and nothing of what a container calls a language.
"""

from __future__ import annotations

import re

__all__ = ["at_the_end_of", "of_stream_tag", "refusal"]

_MOST = 128  # letters; a tag is part of names such as `title.tag.decisions.parquet`, of 255 at most
_TAG = re.compile(
    r"""(?: [a-z]{2,3} (?:-[a-z]{3}){0,3}      # language, extended language
            (?:-[a-z]{4})?                     # script
            (?:-(?:[a-z]{2}|[0-9]{3}))?        # region
            (?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*
            (?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*
            (?:-x(?:-[a-z0-9]{1,8})+)?
          | x(?:-[a-z0-9]{1,8})+ )""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_AT_THE_END = re.compile(r"(?:^|[._\s-])(?P<tag>[a-z]{2}(?:[-_][A-Z][a-z]{3})?(?:[-_][A-Z]{2})?|[A-Z]{2})$")
_NO_LANGUAGES = frozenset({"st", "sd"})  # ends of names: stereo, standard definition; not Sotho, Sindhi
_PRIVATE_REGION = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ")
_EXAMPLES = "write for example fr, pt-BR or zh-Hant"


def refusal(tag: str) -> str | None:
    """Why a tag is refused, as the end of a sentence that begins with the tag; None where it is good. Private use is
    (`x-...`, `qaa` to `qtz`), because somebody must have meant it."""
    if len(tag) > _MOST:
        return f"which has {len(tag)} letters; {_MOST} are allowed, because it names a folder and files"
    if not _TAG.fullmatch(tag):
        plain = tag.replace("_", "-")
        hint = f"; did you mean {plain!r}?" if _TAG.fullmatch(plain) and refusal(plain) is None else ";"
        return f"which is no BCP 47 tag{hint} {_EXAMPLES}"
    if tag.lower().startswith("x-") or _listed(tag):
        return None
    meant = _meant(tag)
    hint = f"; did you mean {meant!r}?" if meant else ";"
    return f"but the registry of language subtags lists no such language, script, region or variant{hint} {_EXAMPLES}"


def at_the_end_of(name: str) -> str | None:
    """The tag that a file's name ends with, its suffix taken off: `pt-BR` of `reel.pt_BR`; None where none is certain.

    Only tags of two letters count, with a script or a region in its usual capitals, because many words of three letters
    are languages (`mix`, `fin`). Two capitals may name a country: they count where that is no other language (`FR`, and
    not `BR`, which is Brazil and Breton).
    """
    found = _AT_THE_END.search(name)
    tag = found["tag"].replace("_", "-") if found else ""
    if tag.isupper():
        spoken = _spoken(tag)
        tag = tag.lower() if spoken in (None, tag.lower()) else ""
    return tag if tag and tag not in _NO_LANGUAGES and refusal(tag) is None else None


def of_stream_tag(tag: str | None) -> str | None:
    """The language that a stream's tag of two or three letters names (`fr` of `fra` and `fre`); None where it names
    none: no tag, `und`, `mul`, `zxx`, or a word that is no tag."""
    import langcodes

    if tag is None or tag.lower() in ("und", "mul", "zxx", "mis"):
        return None
    try:
        usual = langcodes.standardize_tag(tag)
    except ValueError:
        return None
    return usual if refusal(usual) is None else None


def _listed(tag: str) -> bool:
    """Whether the registry lists every subtag, as it is spelt: `en-UK` and `eng` are often read, and are not there."""
    import langcodes

    try:
        return langcodes.Language.get(tag, normalize=False).is_valid()
    except ValueError:
        return False


def _meant(tag: str) -> str | None:
    """The tag that a person had in mind: `en-GB` of `en-UK`, `de` of `deu`, and of a country its language, `ja` of
    `jp`."""
    import langcodes

    try:
        usual = langcodes.standardize_tag(tag)
    except ValueError:
        return None
    if usual.lower() != tag.lower() and _listed(usual):
        return usual
    country, _, rest = tag.partition("-")
    if spoken := _spoken(country):
        whole = f"{spoken}-{rest}" if rest else spoken
        return whole if _listed(whole) else spoken
    return None


def _spoken(country: str) -> str | None:
    """The main language of a country of two letters, `ja` of `jp`; None where there is no such country."""
    import langcodes

    if len(country) != 2 or _PRIVATE_REGION.fullmatch(country.upper()) or not _listed(f"und-{country}"):
        return None
    return str(langcodes.Language.get(f"und-{country}").maximize().language)
