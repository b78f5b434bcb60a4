"""The privileged program ``custodock-clear``: the only one that ever writes to a camera's card.

It believes nobody: not the agent that asks it, not the card. See ``custody/spec/release.md``.
"""
