"""The certificate and key that sign: whether they fit each other and C2PA, looked at before any work.

What is wrong is one sentence each, which never holds a part of a key. What this does not look for, a signature of a few
bytes on trial finds: the library then says why its own reader would refuse it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dubbing.errors import ManifestError
from dubbing.inputs import near_names, read_file
from dubbing.provenance import Signing

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["PURPOSES", "Credentials", "installed", "load"]

PURPOSES = {
    "1.3.6.1.4.1.62558.2.1": "claim signing", "1.3.6.1.5.5.7.3.4": "e-mail protection",
    "1.3.6.1.5.5.7.3.36": "document signing",
}  # fmt: skip
"""Extended key usages with which a certificate may sign, by object identifier."""
_MOST_BYTES = 1 << 20
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_RSA = ("ps256", "ps384", "ps512")


@dataclass(frozen=True)
class Credentials:
    """What signs. algorithm: as C2PA calls it; chain, key: PEM; by: whose certificate it is, `Signer, House`; until:
    its last moment, UTC; open_key: whether other accounts of this machine may read the key."""

    algorithm: str
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    by: str
    until: datetime
    open_key: bool


def installed() -> bool:
    """Whether the extra `provenance` is."""
    return find_spec("c2pa") is not None and find_spec("cryptography") is not None


def load(signing: Signing, *, trial: bool = True) -> Credentials:
    """Read certificate and key. trial: sign something with them, too.

    Raises ManifestError, whose `at` names the field: the extra is not installed; a file is missing, no PEM, or
    encrypted; the two do not belong together; the certificate has expired, is not valid yet, or is for another purpose;
    another algorithm than the key's.
    """
    if not installed():
        raise ManifestError(
            "masters are to be signed, and c2pa-python is not installed; pip install 'dubbing[provenance]', or remove "
            "'provenance'."
        )
    from cryptography.hazmat.primitives import serialization

    text = _read(signing.certificate, "certificate")
    chain = _chain(text, signing.certificate)
    key = _key(signing.key)
    leaf, name = chain[0], signing.certificate.name
    _valid(leaf, name)
    if leaf.public_key() != key.public_key():
        raise _wrong(
            "key", f"{signing.key} is not the key of the first certificate in {name}; give that one's key, or put the "
            "signer's certificate first.",
        )  # fmt: skip
    found = Credentials(
        _algorithm(key, signing), b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        _by(leaf), leaf.not_valid_after_utc, bool(signing.key.stat().st_mode & 0o044),
    )  # fmt: skip
    if trial:
        from dubbing.provenance.claims import fault

        why = fault(found)
        if why is not None:
            raise _wrong("certificate", f"{signing.certificate} cannot sign by C2PA: {why}; ask who issued it.")
    return found


def _wrong(name: str, text: str) -> ManifestError:
    return ManifestError(text, at=("provenance", name))


def _read(path: Path, name: str) -> bytes:
    try:
        return read_file(path, _MOST_BYTES)
    except FileNotFoundError as e:
        raise _wrong(name, f"there is no file {path}; 'provenance' names its {name} (PEM).{near_names(path)}") from e
    except OSError as e:
        raise _wrong(name, f"{path} cannot be read ({e.strerror}); it is the {name} of 'provenance'.") from e


def _chain(text: bytes, path: Path) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        what = "holds a private key" if b"PRIVATE KEY" in text else "holds no certificate in PEM"
    raise _wrong(
        "certificate", f"{path} {what}; 'certificate' is the signer's certificate and those that vouch for it."
    )


def _key(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _read(path, "key")
    try:  # neither what it raises nor its cause goes further: both might hold a part of the key
        return load_pem_private_key(text, None)
    except TypeError:
        why = "is encrypted, and nobody is asked for a passphrase; give it without one, readable by this account only"
    except Exception:  # a parser of damaged bytes
        why = "holds no private key in PEM"
        if b"ENCRYPTED" in text:
            why = "is encrypted, and damaged"
        elif b"CERTIFICATE" in text:
            why = "holds a certificate, and no private key"
    raise _wrong("key", f"{path} {why}.")


def _valid(leaf: Certificate, name: str) -> None:
    """Raises ManifestError where a certificate is for another time or purpose."""
    from cryptography import x509

    now = datetime.now(UTC)
    if now > leaf.not_valid_after_utc:
        raise _wrong("certificate", f"{name} expired on {leaf.not_valid_after_utc:%Y-%m-%d}; ask for a new one.")
    if now < leaf.not_valid_before_utc:
        raise _wrong("certificate", f"{name} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} on, and not yet.")
    try:
        usages = {one.dotted_string for one in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
    except x509.ExtensionNotFound:
        usages = set()
    except ValueError:  # an extension that cannot be read: the trial says so
        return
    if not usages & PURPOSES.keys():
        raise _wrong(
            "certificate", f"{name} is for another purpose: its extended key usage must be one of "
            f"{', '.join(PURPOSES.values())}; ask for a certificate that signs content.",
        )  # fmt: skip


def _algorithm(key: Any, signing: Signing) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    fits: tuple[str, ...] = ()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        fits = (_CURVES[key.curve.name],) if key.curve.name in _CURVES else ()
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        fits = ("ed25519",)
    elif isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        fits = _RSA
    if not fits:
        raise _wrong(
            "key", f"{signing.key} is of a kind that C2PA does not know; use P-256, P-384, P-521, Ed25519, or RSA of "
            "2048 bits or more.",
        )  # fmt: skip
    if signing.algorithm not in (None, *fits):
        raise _wrong(
            "algorithm", f"'algorithm' is {signing.algorithm}, and {signing.key.name} signs by {' or '.join(fits)}; "
            "leave it out.",
        )  # fmt: skip
    return signing.algorithm or fits[0]


def _by(leaf: Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = [
        str(found[0].value)
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        if (found := leaf.subject.get_attributes_for_oid(kind))
    ]
    return ", ".join(names) or leaf.subject.rfc4514_string() or "somebody without a name"
