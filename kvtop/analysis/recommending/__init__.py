"""Up to three configurations that fit: candidates of an engine in the order of advice, planned, gated and ranked.

The order of advice: no more context and slots than needed; 8 bits for keys and values; a smaller micro-batch; smaller
weights; fewer bits only where they were measured. Fewer bits for keys than for values are never offered: the other way
round takes as many bytes and loses less in every measurement found.
"""

from kvtop.analysis.recommending.ranking import recommend
from kvtop.planning.protocol.recommend_request import RecommendRequest

__all__ = ["RecommendRequest", "recommend"]
