"""Builds the CockroachDB stand-in's image on top of the service's (for its Python and its PostgreSQL driver)."""

from pathlib import Path

from tools.cluster import builder

IMAGE = "cockroachdb-standin"


def archive() -> Path:
    """The image as an archive, built with whatever builds the product's images."""
    made = builder.ARCHIVES / f"{IMAGE}.tar"
    builder.build(f"{IMAGE}:{builder.TAG}", "tools/standin/Dockerfile", made)
    return made
