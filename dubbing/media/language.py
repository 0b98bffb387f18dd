"""BCP 47 language tags as containers want them: three letters of ISO 639-2. It knows no file."""

from __future__ import annotations

__all__ = ["three_letters"]

_TWO = (
    "af:afr am:amh ar:ara as:asm az:aze be:bel bg:bul bn:ben bo:bod bs:bos ca:cat cs:ces cy:cym da:dan de:deu "
    "el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas fi:fin fr:fra ga:gle gl:glg gu:guj ha:hau he:heb hi:hin "
    "hr:hrv hu:hun hy:hye id:ind ig:ibo is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm kn:kan ko:kor ku:kur "
    "ky:kir la:lat lb:ltz lo:lao lt:lit lv:lav mg:mlg mi:mri mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt my:mya "
    "nb:nob ne:nep nl:nld nn:nno no:nor or:ori pa:pan pl:pol ps:pus pt:por ro:ron ru:rus sa:san sd:snd si:sin "
    "sk:slk sl:slv so:som sq:sqi sr:srp su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl tr:tur "
    "tt:tat ug:uig uk:ukr ur:urd uz:uzb vi:vie wo:wol xh:xho yi:yid yo:yor zh:zho zu:zul"
)
_QUICKTIME = (
    "bod:tib cym:wel deu:ger ell:gre eus:baq fas:per hye:arm isl:ice kat:geo mkd:mac msa:may mya:bur "
    "nld:dut nno:nor nob:nor sqi:alb swe:sve zho:chi"
)


def three_letters(tag: str | None, quicktime: bool = False) -> str:
    """'pt-BR' to 'por', 'cmn' to 'cmn'; 'und' for what has no such code. quicktime: as the table of
    languages in mov files spells them ('ger', 'sve'); mov has no code at all for some (Serbian, Zulu)."""
    primary = (tag or "").lower().replace("_", "-").split("-")[0]
    table = dict(pair.split(":") for pair in _TWO.split())
    code = table.get(primary, primary if len(primary) == 3 and primary.isalpha() else "und")
    return dict(pair.split(":") for pair in _QUICKTIME.split()).get(code, code) if quicktime else code
