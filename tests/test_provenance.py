"""Provenance: masters that say, by C2PA, that they are altered, signed by certificates that the tests make."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import pytest
import yaml
from command import Dub
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from films import Finished, started_by
from test_sequences import sequence

import dubbing
from dubbing import config, manifest, media
from dubbing.errors import ManifestError
from dubbing.provenance import Signing
from dubbing.provenance.claims import Claim, Ingredient, read, sign
from dubbing.provenance.credentials import load
from dubbing.review.library import Library
from dubbing.review.report import report

PEM, NOBODY = serialization.Encoding.PEM, serialization.NoEncryption()
MAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION


def private(key: Any, encryption: Any = NOBODY) -> bytes:
    return bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))


def signer(
    folder: Path,
    *,
    key: Any = None,
    purposes: Sequence[Any] = (MAIL,),
    begins: int = -1,
    days: int = 30,
    by: str = "Ana",
) -> dict[str, str]:
    """A certificate that an issuer of our own vouches for, and its key: the manifest's `provenance`. begins: days from
    now; days: how long it is valid."""

    def named(who: str) -> x509.Name:
        pairs = ((NameOID.ORGANIZATION_NAME, "House"), (NameOID.COMMON_NAME, who))
        return x509.Name([x509.NameAttribute(*pair) for pair in pairs])

    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer, now, day = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC), timedelta(days=1)

    def certificate(who: str, public: Any, first: int, last: int, authority: bool) -> x509.CertificateBuilder:
        uses = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                              "encipher_only", "decipher_only", "crl_sign"), False)  # fmt: skip
        return (
            x509.CertificateBuilder().subject_name(named(who)).issuer_name(named("Issuer")).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now + first * day)
            .not_valid_after(now + last * day).add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.KeyUsage(not authority, key_cert_sign=authority, **uses), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
        )  # fmt: skip

    leaf = certificate(by, key.public_key(), begins, begins + days, authority=False)
    if purposes:
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    made = [leaf, certificate("Issuer", issuer.public_key(), -900, 900, authority=True)]
    (folder / "sign.pem").write_bytes(b"".join(c.sign(issuer, hashes.SHA256()).public_bytes(PEM) for c in made))
    (folder / "key.pem").write_bytes(private(key))
    (folder / "key.pem").chmod(0o600)
    return {"certificate": str(folder / "sign.pem"), "key": str(folder / "key.pem")}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"), (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
    ],
)  # fmt: skip
def test_the_algorithm_is_the_key_s(tmp_path: Path, key: Callable[[], Any], algorithm: str) -> None:
    found = load(Signing(**signer(tmp_path, key=key())))
    assert (found.algorithm, found.by) == (algorithm, "Ana, House") and not found.open_key
    assert "PRIVATE" not in repr(found)


OTHER = private(ec.generate_private_key(ec.SECP256R1()))


def swap(name: str, data: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink() if data is None else (folder / name).write_bytes(data)

    return change


def encrypted(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    (folder / "key.pem").write_bytes(private(key, serialization.BestAvailableEncryption(b"secret")))


def alone(folder: Path) -> None:
    """The issuer's certificate instead of the signer's."""
    head, _, rest = (folder / "sign.pem").read_bytes().partition(b"-----END CERTIFICATE-----\n")
    assert head and rest
    (folder / "sign.pem").write_bytes(rest)


@pytest.mark.parametrize(
    ("made", "change", "field", "said"),
    [
        ({}, swap("key.pem", OTHER), "key", "is not the key of the first certificate in sign.pem"),
        ({}, swap("key.pem", None), "key", "there is no file"),
        ({}, swap("sign.pem", None), "certificate", "there is no file"),
        ({}, swap("key.pem", OTHER[:60]), "key", "holds no private key in PEM"),
        ({}, swap("sign.pem", b"certificate"), "certificate", "holds no certificate in PEM"),
        ({}, swap("sign.pem", OTHER), "certificate", "holds a private key"),
        ({}, encrypted, "key", "is encrypted, and nobody is asked for a passphrase"),
        ({}, alone, "certificate", "is for another purpose"),
        ({"begins": -20, "days": 10}, None, "certificate", "sign.pem expired on 20"),
        ({"begins": 10}, None, "certificate", "is valid from 20"),
        ({"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}, None, "certificate", "is for another purpose"),
        ({"purposes": []}, None, "certificate", "is for another purpose"),
        ({"purposes": [MAIL, ExtendedKeyUsageOID.OCSP_SIGNING]}, None, "certificate", "cannot sign by C2PA"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, None, "key", "is of a kind that C2PA does not know"),
    ],
)  # fmt: skip
def test_a_wrong_certificate_is_one_sentence(
    tmp_path: Path, made: dict[str, Any], change: Callable[[Path], None] | None, field: str, said: str
) -> None:
    asked = signer(tmp_path, **made)
    if change is not None:
        change(tmp_path)
    with pytest.raises(ManifestError) as caught:
        load(Signing(**asked))
    text = str(caught.value)
    assert said in text and caught.value.at == ("provenance", field) and "\n" not in text
    secret = (tmp_path / "key.pem").read_text() if (tmp_path / "key.pem").exists() else ""
    assert not any(line in text for line in secret.splitlines()), "nothing of a key is said"


def test_what_is_asked_for_is_looked_at_before_work(film: Path, tmp_path: Path, dub: Dub, without_c2pa: Any) -> None:
    asked = signer(tmp_path, days=1, begins=-3)
    job = signed_job(film, tmp_path, asked)
    code, _, err = dub("run", job, "--out", tmp_path / "out")
    assert code == 2 and f"{job}, line" in err and "sign.pem expired on" in err and "PRIVATE" not in err
    assert not (tmp_path / "out" / "film").exists()
    signer(tmp_path)
    for wrong, said in (({"algorithm": "es512"}, "key.pem signs by es256"), ({"timestamp_url": "tsa"}, "http://"),
                        ({"key": "s3://house/key.pem"}, "path of a PEM file on this machine")):  # fmt: skip
        code, _, err = dub("run", signed_job(film, tmp_path, asked | wrong), "--out", tmp_path / "out")
        assert code == 2 and said in err, err
    (tmp_path / "house.yaml").write_text(json.dumps({"provenance": {"certificate": "sign.pem", "key": "key.pem"}}))
    code, _, err = dub("run", film, "--config", tmp_path / "house.yaml")
    assert code == 2 and "'certificate' must begin with / or ~" in err
    without_c2pa()
    found = dubbing.check(signed_job(film, tmp_path, asked), tmp_path / "out", listen=False)
    assert ["c2pa-python is not installed; pip install 'dubbing[provenance]'" in str(p) for p in found.problems] == [
        True
    ]


@pytest.fixture
def without_c2pa(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, the extra is not installed."""
    from dubbing.provenance import credentials

    return lambda: monkeypatch.setattr(credentials, "installed", lambda: False)


def signed_job(film: Path, folder: Path, asked: dict[str, str] | None, **more: Any) -> Path:
    """The short film's manifest with its Hindi dub alone, and `provenance`."""
    plain = yaml.safe_load(film.read_text(encoding="utf-8"))
    (title,) = plain["titles"]
    title["video"] = str(film.parent / title["video"])
    title["dubs"] = [d | {"audio": str(film.parent / d["audio"])} for d in title["dubs"] if d["language"] == "hi"]
    title["dubs"][0].pop("dialogue", None)
    (folder / "job.yaml").write_text(yaml.safe_dump(plain | more | ({"provenance": asked} if asked else {})))
    return folder / "job.yaml"


@pytest.mark.long
def test_a_signed_master_is_the_master_and_says_who_changed_what(finished: Finished, tmp_path: Path, dub: Dub) -> None:
    asked = signer(tmp_path)
    masters = ["as_source", {"container": "mkv", "suffix": "archive"}]
    job = signed_job(finished.film, tmp_path, asked, master=masters)
    out, home = tmp_path / "out", tmp_path / "out" / "film" / "hi"
    shutil.copytree(finished.out, out)
    code, said, err = dub("check", job, "--out", out)
    assert code == 0 and "by Ana, House, whose certificate is valid until" in said, err
    assert "in film.hi.mp4 and as film.hi.archive.c2pa beside film.hi.archive.mkv" in said
    started_by(job, out)
    inside, beside = read(home / "film.hi.mp4"), read(home / "film.hi.archive.mkv")
    assert inside is not None and (inside.by, inside.where, inside.problems) == ("Ana, House", "film.hi.mp4", ())
    assert beside is not None and (beside.where, beside.problems) == ("film.hi.archive.c2pa", ())

    with c2pa.Reader(str(home / "film.hi.mp4")) as reader:
        plain = json.loads(reader.json())
    active = plain["manifests"][plain["active_manifest"]]
    (actions,) = (a["data"]["actions"] for a in active["assertions"] if a["label"].startswith("c2pa.actions"))
    assert [a["action"] for a in actions] == ["c2pa.opened", "c2pa.placed", "c2pa.edited"]
    edited = actions[2]
    assert edited["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert edited["softwareAgent"] == {"name": "dub", "version": dubbing.__version__}
    assert edited["parameters"]["dub.generators"][0].startswith("rewrite@")
    (time,) = (r["time"] for change in edited["changes"] for r in change["region"])
    assert 0.4 < float(time["start"]) < float(time["end"]) < 3.6
    relations = {i["title"]: i["relationship"] for i in active["ingredients"]}
    assert relations == {"film.mp4": "parentOf", "film.hi.flac": "componentOf"}

    made = next(home.glob("master-*"))
    line = media.timeline(home / "film.hi.mp4")
    pairs = zip(media.read(home / "film.hi.mp4", line), media.read(made / "film.hi.mp4", line), strict=True)
    assert all((a.bgr() == b.bgr()).all() for a, b in pairs)
    for name in ("film.hi.mp4", "film.hi.archive.mkv"):
        code, said, err = dub("verify", home / name, "--source", finished.film.parent / "film.mp4")
        assert code == 0 and "signed by Ana, House (es256, no time stamp)" in said, said + err
    secret = (tmp_path / "key.pem").read_bytes().splitlines()[1]
    assert not any(secret in p.read_bytes() for p in out.rglob("*") if p.is_file()), "nothing keeps the key"
    assert json.loads((out / "run.json").read_text())["dubs"][0]["signed"]["by"] == "Ana, House"
    assert "signed as altered content (C2PA) by Ana, House, in film.hi.mp4 and beside" in report(Library(out))

    shown = dubbing.open_results(out).dub("film", "hi")
    assert shown.damage is None and [m.name for m in shown.masters] == ["film.hi.mp4", "film.hi.archive.mkv"]
    assert started_by(job, out) == set(), "a signature is made once"
    signer(tmp_path, by="Berta")
    assert started_by(job, out) == {"sign film/hi"}, "another certificate masters nothing again"
    assert [read(f).by for f in (home / "film.hi.mp4", home / "film.hi.archive.mkv")] == ["Berta, House"] * 2  # type: ignore[union-attr]

    data = bytearray((home / "film.hi.mp4").read_bytes())
    data[data.find(b"mdat") + 2000] ^= 1
    (tmp_path / "film.hi.mp4").write_bytes(data)
    tampered = read(tmp_path / "film.hi.mp4")
    assert (
        tampered is not None and tampered.problems and "Mismatch" in tampered.problems[0] or "mismatch" in str(tampered)
    )
    shutil.copy(home / "film.hi.archive.c2pa", tmp_path / "film.hi.archive.c2pa")
    (tmp_path / "film.hi.archive.mkv").write_bytes((home / "film.hi.archive.mkv").read_bytes() + b"\0")
    found = dubbing.verify(tmp_path / "film.hi.archive.mkv", finished.film.parent / "film.mp4", takes=out)
    assert ["the signature in film.hi.archive.c2pa is not valid" in c.detail for c in found.checks
            if c.what == "provenance"] == [True] and found.exit_code == 1  # fmt: skip

    started_by(signed_job(finished.film, tmp_path, None, master=masters), out)
    assert not list(home.glob("*.c2pa")) and not list(home.glob("signed-*")), "no signature of another master is left"
    assert read(home / "film.hi.mp4") is None


def test_the_manifest_wins_over_the_configuration(film: Path, tmp_path: Path) -> None:
    asked = signer(tmp_path)
    job = manifest.load(signed_job(film, tmp_path, {"certificate": "sign.pem", "key": "key.pem"}))
    assert job.provenance is not None and job.provenance.certificate == tmp_path / "sign.pem", "as its other paths"
    (tmp_path / "house.yaml").write_text(json.dumps({"provenance": asked}))
    settings = config.load(tmp_path / "house.yaml")
    assert settings.provenance is not None and settings.provenance.key == tmp_path / "key.pem"
    found = dubbing.check(manifest.load(film), tmp_path / "out", config=settings, listen=False)
    assert not found.problems and any("by Ana, House" in note for note in found.notes)


def test_a_folder_of_pictures_is_bound_by_the_hash_of_each(film: Path, tmp_path: Path) -> None:
    source = sequence(tmp_path / "film", "png")
    home = shutil.copytree(tmp_path / "film", tmp_path / "film.fr.png")
    asked, other = signer(tmp_path), Ingredient(source, None)
    made = sign(home, tmp_path, Claim("1", "fr", [], other, other, []), load(Signing(**asked)))
    assert (made.where, made.problems) == ("film.fr.c2pa", ()) and read(home) == made

    def verified() -> str:
        (said,) = (str(c) for c in dubbing.verify(f"{home}#rate=24000/1001", source).checks if c.what == "provenance")
        return said

    assert verified().startswith("equal: signed by Ana, House")
    (home / "note.txt").write_text("one file more")
    assert verified().startswith("differs: the signature in film.fr.c2pa is not valid")

    job = manifest.load(signed_job(film, tmp_path, asked, master={"container": "png"}))
    found = dubbing.check(job, tmp_path / "out", listen=False)
    assert not found.problems and any("as film.hi.c2pa beside film.hi.png" in note for note in found.notes)
