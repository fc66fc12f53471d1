"""Finds the images most like a given one: stores of embedded images and the search in them; needs no torch."""

from dml.search.found import Found, Match
from dml.search.remote.searching import RemoteStore
from dml.search.remote.update import remove_remote, update_remote
from dml.search.reranking import Reranking
from dml.search.searcher import Searcher
from dml.search.store import About, Store
from dml.search.update import Change, remove_images, update_store

__all__ = [
    "About",
    "Change",
    "Found",
    "Match",
    "RemoteStore",
    "Reranking",
    "Searcher",
    "Store",
    "remove_images",
    "remove_remote",
    "update_remote",
    "update_store",
]
