"""Where rows come from: files, folders, data sets and objects, as records with their places. What a record means is decided elsewhere."""

from unweave.data.sources.base import Found, Reading, Record
from unweave.data.sources.registry import Prepared, Records

__all__ = ["Found", "Prepared", "Reading", "Record", "Records"]
