"""Pages inside a notebook: in a frame of their own, which runs no script and asks for nothing."""

import html

HEIGHT = 640


def framed(page: str) -> str:
    """A page as a cell's output.

    Args:
        page: HTML of a whole page.

    Returns:
        A sandboxed frame that holds it: the notebook's styles do not reach it, nor does it reach the notebook.
    """
    style = f"width: 100%; height: {HEIGHT}px; border: 1px solid #ccc; border-radius: 6px; background: #fff"
    return f'<iframe sandbox srcdoc="{html.escape(page)}" style="{style}" title="unweave"></iframe>'
