"""Which of my images are most like this one: stores of embedded images and the search in them; needs no torch."""

from dml.search.reranking import Reranking
from dml.search.searcher import Found, Match, Searcher
from dml.search.store import About, Store
from dml.search.update import Change, remove_images, update_store

__all__ = ["About", "Change", "Found", "Match", "Reranking", "Searcher", "Store", "remove_images", "update_store"]
