"""The exact ranking engine: the ranks of every query's positives among all references, in bounded memory."""

from dml.neighbors.ranking.device import find_device, rank_block_on
from dml.neighbors.ranking.groups import GROUP_RULES, GroupRule
from dml.neighbors.ranking.layout import RankingTask
from dml.neighbors.ranking.nearest import Candidates
from dml.neighbors.ranking.nearest_search import MOST, QUERIES, NearestSearch
from dml.neighbors.ranking.parallel import run_blocks
from dml.neighbors.ranking.rank import rank_block
from dml.neighbors.ranking.small import rank_small
from dml.neighbors.ranking.tiles import Block, Tiling, make_small_tiling, make_tiling

__all__ = [
    "GROUP_RULES",
    "MOST",
    "QUERIES",
    "Block",
    "Candidates",
    "GroupRule",
    "NearestSearch",
    "RankingTask",
    "Tiling",
    "find_device",
    "make_small_tiling",
    "make_tiling",
    "rank_block",
    "rank_block_on",
    "rank_small",
    "run_blocks",
]
