"""The page of a deletion certificate; one file, no script, no remote request."""

from pathlib import Path
from typing import Any

from unweave.files import write_text
from unweave.report.pages import environment


def write_certificate_page(path: Path, certificate: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        certificate: The certificate.
    """
    write_text(path, environment().get_template("certificate.html").render(certificate=certificate))
