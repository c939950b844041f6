"""The page of a deletion certificate; one file, no script, no remote request."""

from pathlib import Path
from typing import Any

from unweave.files import write_text
from unweave.report.pages import environment


def render_certificate_page(certificate: dict[str, Any]) -> str:
    """The page of a certificate.

    Args:
        certificate: The certificate.

    Returns:
        HTML.
    """
    return environment().get_template("certificate.html").render(certificate=certificate)


def write_certificate_page(path: Path, certificate: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        certificate: The certificate.
    """
    write_text(path, render_certificate_page(certificate))
