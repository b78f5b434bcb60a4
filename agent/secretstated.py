"""Names that the process which keeps secret footage and the agent share, without the libraries of either."""

STATED_NAME = "stated.json"  # what the event says: for an agent that was stopped before it could
PART_PREFIX = ".part-"  # of a folder that is not whole
