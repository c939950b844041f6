"""Which rows somebody looks for, and in which order: what stands in an address of `/rows`."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from unweave.explorer.sql import is_whole


@dataclass(frozen=True)
class Search:
    """Which rows, and in which order. It is what stands in an address of `/rows`.

    Attributes:
        words: All of them must stand in the prompt or the answer, in whatever case.
        source: The file that rows come from.
        field: A column of the data.
        equals: What stands in that column; empty for whatever.
        where: A condition in SQL, or a SELECT of its own.
        lasso: A polygon on the map, as `x1,y1;x2,y2;...`.
        sort: A column; by default the store's order.
        down: The largest first.
        page: From 1.
    """

    words: str = ""
    source: str = ""
    field: str = ""
    equals: str = ""
    where: str = ""
    lasso: str = ""
    sort: str = ""
    down: bool = False
    page: int = 1

    @classmethod
    def parse(cls, query: str) -> "Search":
        """Read an address.

        Args:
            query: What stands behind its question mark.

        Returns:
            The search.
        """
        given = dict(parse_qsl(query, keep_blank_values=True))
        sort, page = given.get("sort", ""), given.get("page", "1")
        return cls(
            words=given.get("q", ""),
            source=given.get("source", ""),
            field=given.get("field", ""),
            equals=given.get("equals", ""),
            where=given.get("where", "").strip(),
            lasso=given.get("lasso", ""),
            sort=sort.removeprefix("-"),
            down=len(sort) > 1 and sort.startswith("-"),
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
        )

    def query(self, **changes: Any) -> str:
        """Write an address.

        Args:
            **changes: What is different from this search.

        Returns:
            What stands behind its question mark, without what is as it is by default.
        """
        own = replace(self, **changes)
        given = {
            "q": own.words,
            "source": own.source,
            "field": own.field,
            "equals": own.equals,
            "where": own.where,
            "lasso": own.lasso,
            "sort": f"-{own.sort}" if own.down and own.sort else own.sort,
            "page": str(own.page) if own.page > 1 else "",
        }
        return urlencode([(name, value) for name, value in given.items() if value])

    @property
    def is_select(self) -> bool:
        """Whether a SELECT of its own was typed."""
        return is_whole(self.where)
