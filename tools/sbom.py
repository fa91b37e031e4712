"""`make sbom`: what is in an image, as CycloneDX 1.6, read from the image's archive alone.

Python packages are known by their metadata, Debian's by the records that tools/rootfs.py keeps. The list depends on
nothing but the image: the same digest gives the same file.
"""

import argparse
import json
import sys
import tarfile
import uuid
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

NAMESPACE = uuid.UUID("6d6c1b1e-6d0e-4f3b-9e0f-6f5f0a0c9a55")  # of the serial numbers of these lists


class Image:
    """An image in the format of `docker save`: its configuration and the files of its layers."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        with tarfile.open(archive) as parts:
            self._manifest = json.loads(_read(parts, "manifest.json"))[0]
            self.config: dict[str, Any] = json.loads(_read(parts, self._manifest["Config"]))
        self.name: str = self._manifest["RepoTags"][0]
        self.digest = Path(self._manifest["Config"]).stem
        self.labels: dict[str, str] = self.config["config"].get("Labels") or {}

    def files(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        with tarfile.open(self._archive) as parts:
            for name in self._manifest["Layers"]:
                with tarfile.open(fileobj=parts.extractfile(name)) as layer:
                    for member in layer:
                        yield member, layer

    def records(self) -> Iterator[tuple[str, Message]]:
        """The records of its packages, all kinds of which are read as mail headers are."""
        for member, layer in self.files():
            path = Path(member.name)
            if path.name == "METADATA" and path.parent.suffix == ".dist-info":
                kind = "pypi"
            elif path.parent.name == "status.d":
                kind = "deb"
            elif path.name == "pyvenv.cfg":
                kind = "generic"  # Python itself, which may be nobody's package
            else:
                continue
            if member.isfile():
                text = _read(layer, member.name)
                yield kind, message_from_string(text.replace(" = ", ": ") if kind == "generic" else text)


def _read(archive: tarfile.TarFile, name: str) -> str:
    member = archive.extractfile(name)
    assert member is not None, f"{name} is no file"
    return member.read().decode()


def bill_of(image: Image) -> Bom:
    """Everything that the image was put together from."""
    whole = Component(
        name=image.name,
        bom_ref=image.name,
        type=ComponentType.CONTAINER,
        version=image.labels.get("org.opencontainers.image.version"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image.digest)],
    )
    parts = [component(kind, record) for kind, record in image.records()]
    serial = uuid.uuid5(NAMESPACE, image.digest)
    bom = Bom(serial_number=serial, components=parts, metadata=BomMetaData(component=whole))
    bom.register_dependency(whole, parts)
    return bom


def component(kind: str, record: Message) -> Component:
    name, version = record["Name"] or record["Package"] or "python", record["Version"]
    where = PackageURL(kind, "debian" if kind == "deb" else None, name, version)
    licence = record["License-Expression"]
    return Component(
        name=name,
        version=version,
        purl=where,
        bom_ref=where.to_string(),
        type=ComponentType.LIBRARY,
        licenses=[DisjunctiveLicense(name=licence)] if licence else [],
    )


def text_of(bom: Bom) -> str:
    """The list without the moment when it was written, which says nothing of the image."""
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    written["metadata"].pop("timestamp", None)
    return json.dumps(written, indent=2, sort_keys=True) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="sbom", description=__doc__)
    parser.add_argument("archives", type=Path, nargs="+")
    for archive in parser.parse_args().archives:
        target = archive.with_suffix(".cdx.json")
        target.write_text(text_of(bill_of(Image(archive))))
        print(target)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"sbom: {error}. `make images` builds the images")
