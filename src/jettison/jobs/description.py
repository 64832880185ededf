"""An image in a few words: what it is, and when it was made."""

from collections.abc import Mapping
from datetime import UTC, datetime

from jettison.model.digest import Digest
from jettison.model.manifest import Manifest, ManifestKind, referenced_digest
from jettison.model.names import Tag
from jettison.model.snapshot import RepositorySnapshot
from jettison.registry import ConfigFacts

__all__ = ["created_at", "dated_by", "seconds_of", "what_it_is"]


def dated_by(repository: RepositorySnapshot, shown: list[Manifest]) -> list[Manifest]:
    """Return the manifests whose configs date the shown ones: for an index, a child."""
    found = {}
    for manifest in shown:
        first = next(
            (c.digest for c in manifest.children if c.digest in repository.manifests), None
        )
        dated = repository.manifests[first] if first is not None else manifest
        found[dated.digest] = dated
    return list(found.values())


def created_at(manifest: Manifest | None, facts: Mapping[Digest, ConfigFacts]) -> str | None:
    """Return when an image was made, from its config or an annotation (RFC 3339)."""
    if manifest is None:
        return None
    told = [
        facts[digest].created
        for digest in (manifest.digest, *(child.digest for child in manifest.children))
        if digest in facts
    ]
    told.append(manifest.annotations.get("org.opencontainers.image.created"))
    # Builders that want the same bytes each time write the year 1, which tells nothing.
    return next((text for text in told if text and text[:5] != "0001-" and seconds_of(text)), None)


def seconds_of(text: str) -> float | None:
    """Return an RFC 3339 time in seconds since the epoch, or None for any other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def what_it_is(manifest: Manifest | None, tag: Tag | None = None) -> str:
    """Describe a manifest in a few words."""
    if manifest is None:
        return "unreadable"
    about = referenced_digest(tag) if tag is not None else None
    subject = manifest.subject or about
    if subject is not None and manifest.kind is not ManifestKind.INDEX:
        kind = {".sig": "signature", ".att": "attestation", ".sbom": "SBOM"}.get(
            "." + (tag or "").rpartition(".")[2], manifest.artifact_type or "referrer"
        )
        return f"{kind} of {subject.short}"
    if about is not None:
        return f"referrers of {about.short}"
    if manifest.kind is ManifestKind.INDEX:
        platforms = [str(c.platform) for c in manifest.children if c.platform]
        shown = ", ".join(platforms[:3]) + (", …" if len(platforms) > 3 else "")  # noqa: PLR2004
        return f"index of {len(manifest.children)}" + (f": {shown}" if shown else "")
    return manifest.artifact_type or str(manifest.kind)
