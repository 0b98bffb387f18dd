"""Language tags: whether one is BCP 47, of subtags that the IANA registry lists, and what was meant where it is not.

The registry comes with langcodes. Knows no manifest, and nothing of what a container calls a language.
"""

from __future__ import annotations

import re

__all__ = ["refusal"]

_MOST = 255  # letters; a tag names a folder
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
_PRIVATE_REGION = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ")
_EXAMPLES = "write for example fr, pt-BR or zh-Hant"


def refusal(tag: str) -> str | None:
    """Why a tag is refused, as the end of a sentence that begins with the tag; None where it is good. Private use is
    (`x-...`, `qaa` to `qtz`), because somebody must have meant it."""
    if len(tag) > _MOST:
        return f"which has {len(tag)} letters; {_MOST} are allowed, because it names a folder"
    if not _TAG.fullmatch(tag):
        plain = tag.replace("_", "-")
        hint = f"; did you mean {plain!r}?" if _TAG.fullmatch(plain) and refusal(plain) is None else ";"
        return f"which is no BCP 47 tag{hint} {_EXAMPLES}"
    if tag.lower().startswith("x-") or _listed(tag):
        return None
    meant = _meant(tag)
    hint = f"; did you mean {meant!r}?" if meant else ";"
    return f"but the registry of language subtags lists no such language, script, region or variant{hint} {_EXAMPLES}"


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
    if len(country) == 2 and not _PRIVATE_REGION.fullmatch(country.upper()) and _listed(f"und-{country}"):
        spoken = str(langcodes.Language.get(f"und-{country}").maximize().language)
        whole = f"{spoken}-{rest}" if rest else spoken
        return whole if _listed(whole) else spoken
    return None
