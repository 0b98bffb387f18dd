"""What is said of a master by C2PA: written, signed, and read back by the library's own reader.

mp4 and mov carry it; beside any other file it lies in one of its own, `reel.fr.c2pa`, bound to every byte by a hash; of
a folder of pictures, to the SHA-256 of each of them, in the form in which `sha256sum` lists them.
Signatures differ each time, by the algorithm and by the identifiers that the library draws.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dubbing.errors import StageError
from dubbing.provenance.credentials import PURPOSES, Credentials

__all__ = ["SIDECAR", "Change", "Claim", "Ingredient", "Signature", "embeds", "fault", "read", "sidecar_of", "sign"]

SIDECAR = ".c2pa"
"""How the name of a file ends that lies beside a master and holds its signature."""
_ALTERED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_TYPES = {"mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "mxf": "application/mxf"}
_INSIDE = ("mp4", "mov")
_SOURCE, _SOUND = "source", "sound"
_UNTRUSTED = "signingCredential.untrusted"  # no list of trusted issuers is kept here
_QUIET: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "trust": {"trust_config": "\n".join(PURPOSES) + "\n"},
    "builder": {"thumbnail": {"enabled": False}},
}
"""The library's settings: it asks nobody, and draws nothing."""


@dataclass(frozen=True)
class Ingredient:
    """A file that a master was made of. sha256: hex of its content; None where that was not taken."""

    path: Path
    sha256: str | None


@dataclass(frozen=True)
class Change:
    """Whose mouth is another. who: a character, or what else is known; ranges: seconds [start, end) of the film."""

    who: str
    ranges: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Claim:
    """What is said of a master. version: dub's; language: BCP 47; generators: `rewrite@hash12` of what rendered;
    source, sound: the film, and the dub's sound; changes: none where no picture was changed; expressions: what was done
    to faces besides, `made happy (1)`."""

    version: str
    language: str
    generators: Sequence[str]
    source: Ingredient
    sound: Ingredient
    changes: Sequence[Change]
    expressions: Sequence[str] = ()


@dataclass(frozen=True)
class Signature:
    """What the library's reader says of a file. where: name of the file that holds it; by: who signed; when: ISO 8601,
    by a time-stamp authority, None without one; trusted: whether its issuer is known to the reader; problems: what is
    wrong, none where it is valid."""

    where: str
    by: str
    algorithm: str
    when: str | None
    trusted: bool
    problems: tuple[str, ...]

    def __str__(self) -> str:
        if self.problems:
            return f"the signature in {self.where} is not valid: {'; '.join(self.problems)}"
        whom = "" if self.trusted else "; its issuer was not looked up"
        when = self.when or "no time stamp"
        return f"signed by {self.by} ({self.algorithm.lower()}, {when}), in {self.where}: valid{whom}"


def embeds(name: str) -> bool:
    """Whether a master of that name carries its signature itself."""
    return Path(name).suffix.lower().lstrip(".") in _INSIDE


def sidecar_of(name: str) -> str:
    """The file beside a master that holds its signature: `reel.fr.c2pa`."""
    return str(Path(name).with_suffix(SIDECAR))


def sign(
    master: Path, out: Path, claim: Claim, credentials: Credentials, timestamp_url: str | None = None
) -> Signature:  # fmt: skip
    """Sign a master: write a signed copy into the folder `out`, or what lies beside it; returns it as it is read back.

    Raises StageError: it cannot be signed, or is read back as anything but valid.
    """
    import c2pa

    inside = embeds(master.name)
    target = out / (master.name if inside else sidecar_of(master.name))
    definition = _definition(master.name, claim)
    try:
        with c2pa.Context.from_dict(_QUIET) as context, _signer(credentials, timestamp_url) as signer:
            with _with_source(definition, claim.source, context) as builder, _opened(master) as made:
                if inside:
                    with open(target, "w+b") as file:
                        builder.sign(signer, _type(master), made, file)
                else:
                    builder.set_no_embed()
                    target.write_bytes(builder.sign(signer, _type(master), made, _Nowhere()))
        found = read(target if inside else master, None if inside else target)
    except c2pa.C2paError as e:
        raise StageError(f"{master.name} could not be signed: {_said(e)}.") from e
    if found is None or found.problems:
        why = "; ".join(found.problems) if found else "the reader finds no signature"
        raise StageError(f"{master.name} was signed, and its signature is not valid: {why}.")
    return found


def read(master: Path, sidecar: Path | None = None) -> Signature | None:
    """What a master says of its provenance; None where it carries nothing and nothing lies beside it. sidecar: the file
    beside it, None to look for one. Every byte is read."""
    import c2pa

    beside = sidecar or master.with_name(sidecar_of(master.name))
    data = beside.read_bytes() if beside.is_file() else None
    where = beside.name if data is not None else master.name
    try:
        with c2pa.Context.from_dict(_QUIET) as context, _opened(master) as file:
            with c2pa.Reader(_type(master), file, data, context) as reader:
                return _signature(where, json.loads(reader.json()))
    except c2pa.C2paError as e:
        if data is None and isinstance(e, c2pa.C2paError.ManifestNotFound | c2pa.C2paError.NotSupported):
            return None
        return Signature(where, "", "", None, False, (f"it cannot be read ({_said(e)})",))


def fault(credentials: Credentials) -> str | None:
    """Sign a few bytes on trial, without a time stamp: why the reader would refuse it, None where it would not."""
    import c2pa

    data = b"trial"
    try:
        with c2pa.Context.from_dict(_QUIET) as context, _signer(credentials, None) as signer:
            with c2pa.Builder({"assertions": [_actions([{"action": "c2pa.created", "digitalSourceType": _ALTERED}])]},
                              context) as builder:  # fmt: skip
                builder.set_no_embed()
                made = builder.sign(signer, _TYPES["mkv"], io.BytesIO(data), _Nowhere())
            with c2pa.Reader(_TYPES["mkv"], io.BytesIO(data), made, context) as reader:
                return "; ".join(_signature("", json.loads(reader.json())).problems) or None
    except c2pa.C2paError as e:
        return _said(e)


class _Nowhere(io.RawIOBase):
    """A file that keeps nothing: where the library copies a master whose signature lies beside it."""

    def __init__(self) -> None:
        self._at = self._size = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        raise OSError("nothing was kept")

    def write(self, data: Any, /) -> int:
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at


def _signer(credentials: Credentials, timestamp_url: str | None) -> Any:
    import c2pa

    return c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(credentials.algorithm, credentials.chain, credentials.key, timestamp_url)
    )


def _opened(master: Path) -> BinaryIO:
    """What a signature is bound to: a file, or of a folder of files the list of what they hold."""
    if not master.is_dir():
        return open(master, "rb")
    lines = []
    for file in sorted(p for p in master.iterdir() if p.is_file()):
        with open(file, "rb") as opened:
            lines.append(f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {file.name}\n")
    return io.BytesIO("".join(lines).encode())


def _type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower().lstrip("."), "application/octet-stream")


def _actions(actions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}


def _about(one: Ingredient, label: str, relation: str, kind: str, more: str = "") -> dict[str, Any]:
    said = [f"sha256 {one.sha256}"] if one.sha256 else []
    return {
        "title": one.path.name, "format": kind, "relationship": relation, "label": label,
        "instance_id": f"sha256:{one.sha256}" if one.sha256 else f"file:{one.path.name}",
        "description": "; ".join([*said, *([more] if more else [])]),
    }  # fmt: skip


def _with_source(definition: dict[str, Any], source: Ingredient, context: Any) -> Any:
    """A builder of a claim with the film as the ingredient that was opened, and with what the film says of its own
    provenance, where it says anything."""
    import c2pa

    about, more = _about(source, _SOURCE, "parentOf", _type(source.path)), ""
    if source.path.is_file() and read(source.path) is not None:
        builder = c2pa.Builder(definition, context)
        try:
            with open(source.path, "rb") as film:
                builder.add_ingredient(
                    {k: about[k] for k in ("title", "relationship", "label", "description")}, _type(source.path), film
                )
            return builder
        except c2pa.C2paError as e:
            builder.close()
            more = f"its own provenance cannot be read ({_said(e)})"
    about = _about(source, _SOURCE, "parentOf", _type(source.path), more)
    return c2pa.Builder({**definition, "ingredients": [about, *definition["ingredients"]]}, context)


def _definition(name: str, claim: Claim) -> dict[str, Any]:
    """The manifest of C2PA, but for the film."""
    agent = {"name": "dub", "version": claim.version}
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": [_SOURCE]}},
        {"action": "c2pa.placed", "softwareAgent": agent, "parameters": {"ingredientIds": [_SOUND]},
         "description": f"The sound is that of the dub in {claim.language}."},
    ]  # fmt: skip
    if claim.changes:
        actions.append({
            "action": "c2pa.edited", "digitalSourceType": _ALTERED, "softwareAgent": agent,
            "description": f"Mouths are rendered anew, to fit the dub in {claim.language}.",
            "parameters": {"dub.language": claim.language, "dub.generators": list(claim.generators)},
            "changes": [
                {"description": f"the mouth of {change.who}", "region": [
                    {"type": "temporal", "time": {"type": "npt", "start": f"{a:.3f}", "end": f"{b:.3f}"}}
                    for a, b in change.ranges
                ]}
                for change in claim.changes
            ],
        })  # fmt: skip
    if claim.expressions:
        actions.append({
            "action": "c2pa.edited", "digitalSourceType": _ALTERED, "softwareAgent": agent,
            "description": f"Expressions of faces are changed: {'; '.join(claim.expressions)}.",
        })  # fmt: skip
    kind = f"audio/{claim.sound.path.suffix.lower().lstrip('.') or 'file'}"
    return {
        "claim_generator_info": [agent], "title": name, "assertions": [_actions(actions)],
        "ingredients": [_about(claim.sound, _SOUND, "componentOf", kind)],
    }  # fmt: skip


def _signature(where: str, said: Mapping[str, Any]) -> Signature:
    """What a reader's report says. An ingredient's own faults are the ingredient's."""
    active = said["manifests"][said["active_manifest"]]
    info = active.get("signature_info") or {}
    by = ", ".join(str(info[k]) for k in ("common_name", "issuer") if info.get(k))
    mine = (said.get("validation_results") or {}).get("activeManifest") or {}
    failed = [one for one in mine.get("failure", []) if one["code"] != _UNTRUSTED]
    problems = [f"{one.get('explanation') or one['code']} ({one['code']})" for one in failed]
    if not problems and said.get("validation_state") == "Invalid":
        problems = ["the reader says that it is invalid"]
    trusted = all(one["code"] != _UNTRUSTED for one in mine.get("failure", []))
    return Signature(where, by, str(info.get("alg", "")), info.get("time"), trusted, tuple(problems))


def _said(error: Exception) -> str:
    """The library's message, short."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 200 else text[:197] + "..."
